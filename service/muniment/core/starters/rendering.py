"""The files of a project: templates, filled with answers.

A template's name ends in ``.j2``; another file is taken as it is. In a path ``__package__`` stands for the project's
package, and a file with ``__dataset__`` in its name is made once for each dataset that is looked at. What comes out
empty is left out: that is how a file belongs to a choice. Templates run in a sandbox, and free words reach a file only
through a filter that writes them in its language (:class:`muniment.core.starters.answers.Words`). Equal answers,
templates and datasets give equal files, byte for byte.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import yaml
from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from muniment.core.problems import Fault, Invalid, TooLarge
from muniment.core.starters.answers import USUAL_TOOLS, Answers, Wish, Words, answered, local_names
from muniment.core.starters.offers import Offer
from muniment.core.yaml_texts import dumped

#: How much a project may hold, in characters.
LONGEST_PROJECT: Final = 2 * 1024 * 1024
_TEMPLATE: Final = ".j2"
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|&~])")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A governed dataset that a project begins with: what may be done with it, and the type that it has there.

    ``extras`` are those of kedro-datasets that it needs; ``left_out`` says why the example does not load it.
    """

    name: str
    actions: tuple[str, ...]
    extras: tuple[str, ...] = ()
    left_out: str = ""
    local: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package at one version, and the range in which that may move."""

    pinned: str
    ranged: str


@dataclass(frozen=True, slots=True)
class File:
    """One file of a project."""

    path: str
    text: str = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.text.encode())


def rendered(offer: Offer, answers: Answers, drawn: Sequence[Drawn], url: str) -> tuple[File, ...]:
    """The files of a project, in the order of their paths; raises :class:`TooLarge` if they are more than bounded."""
    names = local_names(each.name for each in drawn)
    datasets = [replace(each, local=names[each.name]) for each in drawn]
    looked_at = [each for each in datasets if not each.left_out]
    context = _context(offer, answers, datasets, looked_at, url)
    files, length = [], 0
    for path, write in _writers(offer, answers.starter):
        for place, more in _places(path, answers.package, looked_at):
            text = _written(path, write, {**context, **more})
            length += len(text)
            if length > LONGEST_PROJECT:
                raise TooLarge("A project of these answers is larger than a project may be. Take fewer datasets.")
            if text.strip():
                files.append(File(place, text))
    return tuple(sorted(files, key=lambda file: file.path))


def _context(
    offer: Offer, answers: Answers, datasets: Sequence[Drawn], looked_at: Sequence[Drawn], url: str
) -> Mapping[str, Any]:
    return {
        "name": Words(answers.name),
        "description": Words(answers.description),
        "slug": answers.slug,
        "package": answers.package,
        "starter": answers.starter,
        "kedro": answers.kedro,
        "python": answers.python,
        "tools": answers.tools,
        "packages": answers.packages,
        "ci": answers.ci,
        "environment": answers.environment,
        "url": url,
        "datasets": datasets,
        "looked_at": looked_at,
        "domains": sorted({each.name.partition(".")[0] for each in datasets}),
        "requirements": _requirements(offer, answers, datasets),
        "dev_requirements": _dev_requirements(offer, answers),
        "checks": _checks(answers),
        "recorded": dumped({"version": offer.version, "answers": answers.told(offer)}).rstrip(),
    }


def _requirements(offer: Offer, answers: Answers, datasets: Sequence[Drawn]) -> Sequence[Requirement]:
    extras = ",".join(sorted({"json-jsondataset", *(extra for each in datasets for extra in each.extras)}))
    pin = offer.pins["kedro-datasets"]
    client = offer.pins["kedro-muniment"]
    fixed = [
        Requirement(f"kedro=={answers.kedro}", f"kedro~={answers.kedro}"),
        Requirement(
            f"kedro-datasets[{extras}]=={pin}", f"kedro-datasets[{extras}]>={pin},<{int(pin.split('.')[0]) + 1}"
        ),
        Requirement(f"kedro-muniment=={client}", f"kedro-muniment>={client},<{int(client.split('.')[0]) + 1}"),
    ]
    chosen = [each for each in offer.packages if each.name in answers.packages]
    return [*fixed, *(Requirement(f"{each.name}=={each.pinned}", f"{each.name}{each.versions}") for each in chosen)]


def _dev_requirements(offer: Offer, answers: Answers) -> Sequence[Requirement]:
    needed = {"lint": "ruff", "test": "pytest", "docs": "sphinx"}
    names = [name for tool, name in needed.items() if tool in answers.tools]
    return [Requirement(f"{name}=={offer.pins[name]}", f"{name}>={offer.pins[name]}") for name in names]


def _checks(answers: Answers) -> Sequence[str]:
    """What tells whether the project is in order; none of it asks the service."""
    commands = {
        "lint": ("ruff check .", "ruff format --check ."),
        "test": ("pytest",),
        "docs": ("sphinx-build --fail-on-warning docs docs/_build",),
    }
    return [
        "kedro registry list",
        *(line for tool, lines in commands.items() if tool in answers.tools for line in lines),
    ]


# --- templates -------------------------------------------------------------------------------------------------------

Write = Callable[[Mapping[str, Any]], str]


class Unmade(ValueError):
    """Of a template comes no file."""


def _written(path: str, write: Write, context: Mapping[str, Any]) -> str:
    try:
        return write(context)
    except (TemplateError, TypeError, ValueError) as error:
        raise Unmade(f"{path}: it cannot be made: {error}") from error


def _places(path: str, package: str, looked_at: Sequence[Drawn]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    place = path.removesuffix(_TEMPLATE).replace("__package__", package)
    if "__dataset__" in place:
        yield from ((place.replace("__dataset__", each.local), {"dataset": each}) for each in looked_at)
    else:
        yield place, {}


def _writers(offer: Offer, starter: str) -> Sequence[tuple[str, Write]]:
    texts = offer.templates[starter]
    return _compiled(tuple(texts.items()))


@lru_cache(maxsize=32)
def _compiled(texts: tuple[tuple[str, str], ...]) -> Sequence[tuple[str, Write]]:
    """What writes each file; templates are compiled once for each starter of a version."""
    environment = ImmutableSandboxedEnvironment(
        loader=DictLoader(dict(texts)),
        autoescape=False,  # what is written is no HTML; free words are written by filters
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(_FILTERS)

    def writer(path: str, text: str) -> Write:
        if not path.endswith(_TEMPLATE):
            return lambda _context: text
        template = environment.get_template(path)
        return template.render

    return [(path, writer(path, text)) for path, text in texts]


def _plain(value: object) -> object:
    return value.text if isinstance(value, Words) else value


def _json(value: object) -> str:
    """A text as JSON, YAML and TOML all read it: free words are printable, and so need no more than this."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _python(value: object) -> str:
    """A text as Python's formatters write it."""
    return _json(value) if isinstance(_plain(value), str) else repr(value)


def _docstring(value: object) -> str:
    return str(_plain(value)).replace("\\", "\\\\").replace('"', '\\"')


def _markdown(value: object) -> str:
    return _MARKDOWN.sub(r"\\\1", str(_plain(value)))


_FILTERS: Final = {"json": _json, "python": _python, "docstring": _docstring, "md": _markdown}


# --- before anybody is given them -------------------------------------------------------------------------------------


def _yaml(text: str) -> object:
    """What a text says; read by libyaml, for a start of the service reads a hundred of them."""
    return yaml.load(text, yaml.CSafeLoader)


#: What reads a file of this ending in earnest.
_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "json": json.loads,
    "py": ast.parse,
    "toml": tomllib.loads,
    "yaml": _yaml,
    "yml": _yaml,
}
#: Words that show whether they are written in the language of their file.
_HOSTILE: Final = """It's "all" of \\it: #1 {{ x }} ${y} <b> | `z` 'q' - & * % @"""


def check_templates(offer: Offer) -> None:
    """Make projects of each starter on trial, with all choices and with none; refuses where one fails."""
    drawn = (
        Drawn("sales.orders", ("load",), ("pandas-csvdataset",)),
        Drawn("sales.targets", ("save",), (), "no: it is saved, not loaded"),
    )
    most = [each.name for each in offer.packages]
    alone = {group.id for group in offer.groups if group.exclusive}
    free = [each.name for each in offer.packages if each.group not in alone]
    for starter in offer.starters:
        for tools, packages, ci in (
            ([each.id for each in offer.tools], free, offer.ci[0].id),
            ((), (), offer.ci[-1].id),
            (USUAL_TOOLS, most[:1], offer.ci[-1].id),
        ):
            wish = Wish(
                name="Trial of templates",
                description=_HOSTILE,
                starter=starter.id,
                tools=tools,
                packages=packages,
                ci=ci,
            )
            for datasets in (drawn, ()):
                _try(offer, answered(offer, wish, ["dev"], ()), datasets)


def _try(offer: Offer, answers: Answers, drawn: Sequence[Drawn]) -> None:
    try:
        files = rendered(offer, answers, drawn, "https://muniment.example.org")
    except TemplateSyntaxError as error:
        raise _wrong(str(error.name), f"it cannot be read: {error}") from error
    except Unmade as error:
        raise Invalid(f"{error}.", [Fault(answers.starter, f"{error}.")]) from error
    for file in files:
        reader = _READERS.get(file.path.rpartition(".")[2])
        try:
            _ = reader(file.text) if reader is not None else None
        except (ValueError, SyntaxError, yaml.YAMLError) as error:
            raise _wrong(file.path, f"what is made of it cannot be read: {error}") from error


def _wrong(where: str, what: str) -> Invalid:
    message = f"{where}: {what}."
    return Invalid(message, [Fault(where, message)])
