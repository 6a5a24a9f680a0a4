"""What somebody answered who starts a project, held against what is offered.

Every answer but the name and the description is a word of a known shape, so that it can stand in any file as it is.
Those two are free, one line each: they are :class:`Words`, which no template can write but in the language of its file.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Final

from muniment.core.names import is_dataset
from muniment.core.problems import Fault, Invalid
from muniment.core.starters.offers import Choice, Offer, Package

LONGEST_NAME: Final = 80
LONGEST_DESCRIPTION: Final = 300
LONGEST_PACKAGE: Final = 40
MOST_DATASETS: Final = 50

#: Kedro's own rule for the name of a project, with an end.
_NAME: Final = re.compile(r"[\w -]{2,80}")
_MODULE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]+")
#: Names of devices on Windows, and of what lies or is imported beside the package.
_TAKEN: Final = frozenset({
    "aux", "con", "nul", "prn", *(f"{device}{number}" for device in ("com", "lpt") for number in range(10)),
    "conf", "conftest", "data", "docs", "kedro", "kedro_datasets", "kedro_muniment", "src", "test", "tests",
})  # fmt: skip
#: Names of the project's own data, which no governed dataset has there.
_OWN_DATA: Final = frozenset({"overview", "parameters", "params"})


class Unescaped(TypeError):
    """A template writes free words as they are."""


@dataclass(frozen=True, slots=True)
class Words:
    """A line of somebody's own words: written into a file in that file's language, or not at all."""

    text: str

    def __str__(self) -> str:
        raise Unescaped("name and description are written with | json, | md, | python or | docstring")

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was said; what was not is ``None``, and left to the offer."""

    name: str | None = None
    description: str | None = None
    package: str | None = None
    starter: str | None = None
    kedro: str | None = None
    python: str | None = None
    tools: Sequence[str] | None = None
    packages: Sequence[str] | None = None
    ci: str | None = None
    environment: str | None = None
    datasets: Sequence[str] | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers that fit what is offered."""

    version: str
    name: str
    description: str
    package: str
    starter: str
    kedro: str
    python: str
    tools: tuple[str, ...]
    packages: tuple[str, ...]
    ci: str
    environment: str
    datasets: tuple[str, ...]

    @property
    def slug(self) -> str:
        """What the project's folder is called."""
        return self.package.replace("_", "-")

    def told(self, offer: Offer) -> Mapping[str, str | list[str]]:
        """The answers alone, for an address or a file: what is the offer's own choice is left to the offer again."""
        always = {each.name for each in offer.packages if each.always}
        said: dict[str, str | list[str]] = {
            "name": self.name,
            "description": self.description,
            "package": "" if self.package == package_of(self.name) else self.package,
            "starter": "" if self.starter == offer.starters[0].id else self.starter,
            "kedro": "" if self.kedro == offer.kedro[0] else self.kedro,
            "python": "" if self.python == offer.python[0] else self.python,
            "ci": "" if self.ci == offer.ci[0].id else self.ci,
            "environment": self.environment,
        }
        lists = {
            "tools": [*self.tools],
            "packages": [name for name in self.packages if name not in always],
            "datasets": [*self.datasets],
        }
        return {**{key: value for key, value in said.items() if value}, **lists}


#: The tools of whoever says nothing of tools.
USUAL_TOOLS: Final = ("lint", "test")


def answered(offer: Offer, wish: Wish, environments: Sequence[str], modules: Collection[str]) -> Answers:
    """The answers, each checked; raises :class:`Invalid` with every one that is wrong.

    ``modules`` are the names under which Python itself imports something.
    """
    faults: list[Fault] = []
    name = _line(wish.name or "")
    package = (wish.package or "").strip() or package_of(name)
    made = Answers(
        version=offer.version,
        name=name,
        description=_line(wish.description or ""),
        package=package,
        starter=_chosen(faults, "starter", wish.starter, [each.id for each in offer.starters]),
        kedro=_chosen(faults, "kedro", wish.kedro, offer.kedro),
        python=_chosen(faults, "python", wish.python, offer.python),
        tools=_subset(faults, "tools", _usual_tools(offer) if wish.tools is None else wish.tools, offer.tools),
        packages=_packages(faults, offer, wish.packages or ()),
        ci=_chosen(faults, "ci", wish.ci, [each.id for each in offer.ci]),
        environment=_chosen(faults, "environment", wish.environment, usual_first(environments)),
        datasets=_datasets(faults, wish.datasets or ()),
    )
    faults += _faults_of_names(made, offer, modules)
    if faults:
        raise Invalid("The project cannot be made of these answers; each place is listed.", faults)
    return made


def usual_first(environments: Sequence[str]) -> Sequence[str]:
    """The environments, the one first in which people work if nobody says another."""
    return sorted(environments, key=lambda name: (name not in {"dev", "development"}, name))


def package_of(name: str) -> str:
    """The Python package that a project of this name has: its letters and digits, as far as Python takes them."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NOT_PLAIN.sub("_", plain).strip("_").lstrip("0123456789_")[:LONGEST_PACKAGE].rstrip("_")


def local_names(datasets: Iterable[str]) -> Mapping[str, str]:
    """The project's own name for each governed one: its last part, or more where that is taken."""
    listed = [*datasets]
    leaves = [name.rpartition(".")[2] for name in listed]
    found: dict[str, str] = {}
    for name, leaf in zip(listed, leaves, strict=True):
        whole = name.replace(".", "_")
        wishes = chain([leaf] if leaves.count(leaf) == 1 else [], [whole], (f"{whole}_{number}" for number in count(2)))
        found[name] = next(wish for wish in wishes if wish not in {*_OWN_DATA, *found.values()})
    return found


def _line(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def _usual_tools(offer: Offer) -> Sequence[str]:
    return [each.id for each in offer.tools if each.id in USUAL_TOOLS]


def _faults_of_names(made: Answers, offer: Offer, modules: Collection[str]) -> Iterable[Fault]:
    named = _NAME.fullmatch(made.name) is not None
    if not named:
        message = f"A project's name has 2 to {LONGEST_NAME} letters, digits, spaces, hyphens and underscores."
        yield Fault("name", message)
    if not made.description.isprintable() or len(made.description) > LONGEST_DESCRIPTION:
        yield Fault("description", f"A description is one line of at most {LONGEST_DESCRIPTION} characters.")
    imported = {re.sub(r"\W", "_", each.name.partition("[")[0].lower()) for each in offer.packages}
    if not made.package and not named:
        return
    if not _MODULE.fullmatch(made.package):
        message = "A Python package is named by a-z, 0-9 and '_', and begins with a letter. Say which one this is."
        yield Fault("package", message)
    elif keyword.iskeyword(made.package) or made.package in {*_TAKEN, *modules, *imported}:
        yield Fault("package", "Something else is imported under this name. Choose another for the package.")


def _chosen(faults: list[Fault], key: str, said: str | None, offered: Sequence[str]) -> str:
    if not said:
        if offered:
            return offered[0]
        faults.append(Fault(key, "There is none yet. An administrator makes the first one."))
        return ""
    if said not in offered:
        faults.append(Fault(key, f"This is not offered. There are: {', '.join(offered)}."))
    return said


def _subset(faults: list[Fault], key: str, said: Iterable[str], offered: Sequence[Choice | Package]) -> tuple[str, ...]:
    """What was chosen of a list, in its order."""
    wanted = {each for each in said if each}
    known = [each.id for each in offered]
    if not wanted.issubset(known):
        faults.append(Fault(key, f"Something here is not offered. There are: {', '.join(known)}."))
    return tuple(name for name in known if name in wanted)


def _packages(faults: list[Fault], offer: Offer, said: Iterable[str]) -> tuple[str, ...]:
    always = [each.name for each in offer.packages if each.always]
    found = _subset(faults, "packages", [*said, *always], offer.packages)
    by_name = {each.name: each for each in offer.packages}
    for group in offer.groups:
        of_it = [name for name in found if by_name[name].group == group.id]
        if group.exclusive and len(of_it) > 1:
            faults.append(Fault("packages", f"Take one of {' and '.join(of_it)}: {group.title} has one."))
    return found


def _datasets(faults: list[Fault], said: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted({name.strip() for name in said if name.strip()}))
    if len(names) > MOST_DATASETS:
        faults.append(Fault("datasets", f"A project begins with at most {MOST_DATASETS} datasets."))
    if not all(is_dataset(name) and "{" not in name for name in names):
        faults.append(Fault("datasets", "A dataset is named <domain>.<name>, without placeholders."))
    return names
