"""``/projects/new``: a Kedro project put together, looked at file by file, and taken away.

``/projects/offer``: of what it can be made, and from where that comes.

All of its state is in the address, so that the address is the link by which it is shared. Everything is a GET: nothing
is kept here of a project but the record that somebody took it.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from pydantic import StringConstraints

from muniment.core.problems import Invalid, Problem
from muniment.core.starters.answers import USUAL_TOOLS, Wish
from muniment.core.starters.offers import Choice, Group, Package
from muniment.flows.start_project import Choices, Draft, Looked, Mine, Project, draft_project, start_project
from muniment.flows.tend_starters import Tended, tend_starters
from muniment.web.pages import page_router, show
from muniment.web.visiting import Housed, Visiting, form_for
from muniment.web.words import WORDS

router = page_router()

#: How much of one value of an address is looked at.
_LONGEST: Final = 20_000
#: How many datasets are offered at once, beside those that are chosen.
_SHOWN: Final = 12

#: What has a field of its own on the page.
_FIELDS: Final = frozenset({
    "ci", "datasets", "description", "environment", "kedro", "name", "package", "packages", "python", "starter",
    "tools",
})  # fmt: skip

Value = Annotated[str | None, Query(max_length=_LONGEST)]
Values = Annotated[list[Annotated[str, StringConstraints(max_length=_LONGEST)]] | None, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class Field:
    """A group of things to choose from, as the parts show it: value and text of each, and what is chosen."""

    name: str
    legend: str
    choices: Sequence[tuple[str, ...]]
    chosen: Sequence[str]
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Taking:
    """How a project is taken away: addresses, and the commands that do the same."""

    folder: str
    download: str
    share: str
    curl: str
    command: str


def asked(
    name: Value = None,
    description: Value = None,
    package: Value = None,
    starter: Value = None,
    kedro: Value = None,
    python: Value = None,
    tools: Values = None,
    packages: Values = None,
    ci: Value = None,
    environment: Value = None,
    datasets: Values = None,
    version: Value = None,
) -> Wish:
    """What an address says of a project."""
    return Wish(
        name=name,
        description=description,
        package=package,
        starter=starter,
        kedro=kedro,
        python=python,
        tools=_items(tools),
        packages=_items(packages),
        ci=ci,
        environment=environment,
        datasets=_items(datasets),
        version=version,
    )


Asked = Annotated[Wish, Depends(asked)]


@router.get("/projects/new")
async def get_new(request: Request, visiting: Visiting, house: Housed, wish: Asked, search: Value = None) -> Response:
    """One page: what to choose, what comes of it, and how to take it away."""
    if wish.name is None:
        wish = replace(wish, name=str(WORDS["starters"]["first_name"]))
    draft = await draft_project(house, visiting.occasion, wish, Looked(wish.environment or None, search or "", _SHOWN))
    return show(
        "starters/new.html",
        status=200 if draft.refused is None else 422,
        here="projects",
        visiting=visiting,
        form=form_for(request),
        errors=_errors(draft.refused),
        draft=draft,
        wish=wish,
        search=search or "",
        starters=_choices(draft.choices.offer.starters),
        kedro=_same(draft.choices.offer.kedro),
        python=_same(draft.choices.offer.python),
        ci=_choices(draft.choices.offer.ci),
        environments=_same(draft.choices.environments),
        always=[each.title for each in draft.choices.offer.packages if each.always],
        tools=_tools(draft, wish),
        packages=_packages(draft, wish),
        datasets=_datasets(draft),
        more=_more(draft.choices),
        others=[(each, _asking(each.name, draft.choices.environment)) for each in draft.choices.others],
        taking=None if draft.project is None else _taking(draft.project, request.app.state.public_url),
    )


@router.get("/projects/new.zip")
async def get_zip(visiting: Visiting, house: Housed, wish: Asked) -> Response:
    """The project of an address, as a zip."""
    archive = await start_project(house, visiting.occasion, wish)
    headers = {"Content-Disposition": f'attachment; filename="{archive.name}"'}
    return Response(archive.content, media_type="application/zip", headers=headers)


@router.get("/projects/offer")
async def get_offer(
    request: Request,
    visiting: Visiting,
    house: Housed,
    name: Value = None,
    pinned: Value = None,
    versions: Value = None,
    group: Value = None,
    description: Value = None,
    always: Literal["yes"] | None = None,
) -> Response:
    """What is offered and from where; and how a package is added, for whoever looks after that."""
    typed = {"name": name, "pinned": pinned, "versions": versions, "group": group, "description": description}
    said = {key: value or "" for key, value in typed.items()}
    asked_for = None if name is None else said
    tended = await tend_starters(house, visiting.occasion, asked_for, always=always is not None)
    return show(
        "starters/offer.html",
        status=200 if tended.refused is None else 422,
        here="projects",
        visiting=visiting,
        form=form_for(request),
        errors=_errors(tended.refused, said),
        tended=tended,
        said=said,
        always=always is not None,
        groups=[(each.id, each.title) for each in tended.offer.groups],
        packages=_shelved(tended),
        lists=_lists(tended),
        version_said=_version_said(tended.offer.version),
        templates=sorted(id_ for key, id_ in tended.offer.brought if key == "templates"),
    )


def _items(given: Iterable[str] | None) -> list[str] | None:
    """What stands under a name that is repeated, or between commas; an empty value is a list of nothing."""
    return None if given is None else [part.strip() for each in given for part in each.split(",") if part.strip()]


def _errors(refused: Problem | None, fields: Collection[str] = _FIELDS) -> Mapping[str, str]:
    """What is to be mended, by the field that it is about."""
    if refused is None:
        return {}
    faults = refused.faults if isinstance(refused, Invalid) else ()
    return {fault.at if fault.at in fields else "": fault.message for fault in faults} or {"": refused.detail}


# --- what is shown ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shelved:
    """A package that is offered: the title of its group, and whether the platform team brings it."""

    package: Package
    group: str
    theirs: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Anything else that is offered: what it is, and whether the platform team brings it."""

    title: str
    description: str
    theirs: bool


def _version_said(version: str) -> str:
    own, _, theirs = version.partition("+")
    said = WORDS["starters"]["served_both" if theirs else "served_own"]
    return str(said).format(own=own, theirs=theirs)


def _shelved(tended: Tended) -> Sequence[Shelved]:
    """The packages, the platform team's own first."""
    offer, titles = tended.offer, {each.id: each.title for each in tended.offer.groups}
    listed = [Shelved(each, titles[each.group], ("packages", each.id) in offer.brought) for each in offer.packages]
    return sorted(listed, key=lambda each: not each.theirs)


def _lists(tended: Tended) -> Sequence[tuple[str, Sequence[Part]]]:
    """What is offered beside packages, list by list."""
    offer, words = tended.offer, WORDS["starters"]
    plain = {"kedro": offer.kedro, "python": offer.python}
    told = {key: [Choice(each, each) for each in listed] for key, listed in plain.items()}
    told |= {"starters": [*offer.starters], "tools": [*offer.tools], "ci": [*offer.ci]}
    return [
        (str(words[key]), [Part(each.title, each.description, (key, each.id) in offer.brought) for each in listed])
        for key, listed in told.items()
    ]


def _tools(draft: Draft, wish: Wish) -> Field:
    chosen = USUAL_TOOLS if wish.tools is None else wish.tools
    return Field("tools", str(WORDS["starters"]["tools"]), _choices(draft.choices.offer.tools), chosen)


def _packages(draft: Draft, wish: Wish) -> Sequence[Field]:
    """A field for each group of packages; of one that is exclusive, none can be chosen as well."""
    offer, chosen = draft.choices.offer, wish.packages or ()
    fields = (
        _group(group, [each for each in offer.packages if each.group == group.id], chosen) for group in offer.groups
    )
    return [field for field in fields if field.choices]


def _group(group: Group, packages: Sequence[Package], chosen: Sequence[str]) -> Field:
    choices = [(each.name, f"{each.title} {each.pinned}", each.description) for each in packages if not each.always]
    taken = [each.name for each in packages if each.name in chosen]
    if group.exclusive and choices:
        none = ("", str(WORDS["starters"]["none_of_them"]))
        return Field(
            "packages", group.title, [none, *(choice[:2] for choice in choices)], taken[:1] or [""], exclusive=True
        )
    return Field("packages", group.title, choices, taken)


def _choices(listed: Sequence[Choice]) -> Sequence[tuple[str, str, str]]:
    return [(each.id, each.title, each.description) for each in listed]


def _same(values: Iterable[str]) -> Sequence[tuple[str, str]]:
    return [(each, each) for each in values]


def _datasets(draft: Draft) -> Field:
    """The datasets that are chosen, and after them others of the asker's own."""
    chosen = [each.name for each in draft.chosen]
    shown: list[Mine] = [*draft.chosen, *(each for each in draft.choices.mine if each.name not in chosen)]
    choices = [(each.name, each.name, _dataset_hint(each)) for each in shown]
    return Field("datasets", str(WORDS["starters"]["datasets"]), choices, chosen)


def _more(choices: Choices) -> str:
    """How many of the asker's own are shown, where that is not all of them that are found."""
    shown = len(choices.mine)
    if shown == choices.of:
        return ""
    return str(WORDS["starters"]["datasets_more"]).format(shown=f"{shown:,}", of=f"{choices.of:,}")


def _dataset_hint(dataset: Mine) -> str:
    actions = ", ".join(action.value for action in dataset.actions)
    return " · ".join(filter(None, (dataset.description, actions)))


def _asking(name: str, environment: str) -> str:
    """Where somebody asks for a dataset that is not theirs."""
    return f"/requests/new?{urlencode({'dataset': name, 'action': 'load', 'environment': environment})}"


def _taking(project: Project, url: str) -> Taking:
    query = urlencode(_told(project))
    folder = project.answers.slug
    curl = (
        f'curl --fail --header "Authorization: Bearer $MUNIMENT_TOKEN" --output {folder}.zip \\\n'
        f"  '{url}/v1/projects/new.zip?{query}'"
    )
    return Taking(
        folder=folder,
        download=f"/projects/new.zip?{query}",
        share=f"{url}/projects/new?{query}",
        curl=curl,
        command=_command(project, url),
    )


def _told(project: Project) -> Mapping[str, str]:
    """The answers as an address has them. That no tool is wanted is said; without a word the usual ones are."""
    told = {key: value if isinstance(value, str) else ",".join(value) for key, value in project.told.items()}
    return {key: value for key, value in told.items() if value or key == "tools"}


def _command(project: Project, url: str) -> str:
    told = _told(project)
    options = [(f"--{key}", value) for key, value in told.items() if key != "name"]
    return shlex.join(
        ["kedro", "muniment", "new", told["name"], "--url", url, *(part for each in options for part in each)]
    )
