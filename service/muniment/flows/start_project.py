"""Somebody starts a Kedro project: looks at what there is to choose, at the files, and takes them.

Each answer that tells of datasets is written down before it leaves, and so is every project that was taken, with the
datasets that it began with. A dataset is put in where the asker may use it, in that environment and for this project,
now. Whoever brings an older project up to date asks for the templates that it was made of, and for those of now.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from muniment.core.datasets import Dataset
from muniment.core.decisions import Listing, Wanted
from muniment.core.environments import checked_known
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.past import Standpoint, catalog_of_names
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, TooLarge
from muniment.core.realm import Realm
from muniment.core.schema import Action
from muniment.core.starters.answers import MOST_DATASETS, Answers, Wish, answered, usual_first
from muniment.core.starters.drawing import drawn_of
from muniment.core.starters.offers import Offer
from muniment.core.starters.rendering import Drawn, File, rendered
from muniment.core.visibility import find_each
from muniment.flows.house import House, aside

#: How many datasets are shown at once.
MOST_SHOWN = 100
#: What a file in an archive is dated: equal projects are equal archives.
_ALWAYS = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16
_UNIX = 3


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for among the datasets of an environment: a part of their names, and so many of them."""

    environment: str | None = None
    text: str = ""
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Mine:
    """A dataset that the asker may use, or may only know of: then without actions."""

    name: str
    description: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """All there is to choose: the offer, the environments, and of the datasets those that are looked for.

    ``of`` is how many of the asker's own are; ``others`` they may know of and ask for.
    """

    offer: Offer
    environments: tuple[str, ...]
    environment: str
    mine: tuple[Mine, ...]
    of: int
    others: tuple[Mine, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Project:
    """A project's files, and the answers that they were made of, whole and as they are told again."""

    answers: Answers
    told: Mapping[str, str | list[str]]
    datasets: tuple[Drawn, ...]
    files: tuple[File, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A project as somebody makes it on a page: all there is to choose, and the project, or why there is none yet.

    ``left_out`` are datasets of the address that the asker may not use, whether there are such or not.
    """

    choices: Choices
    project: Project | None
    refused: Problem | None
    chosen: tuple[Mine, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """A project as one file, with a folder of its name in it."""

    name: str
    content: bytes
    revision: int


async def offer_project(house: House, occasion: Occasion, looked: Looked) -> Choices:
    """What can be chosen, and which datasets are the asker's now."""
    realm = await house.realms.current()
    found = await _choices(house, realm, occasion, looked)
    await _record_listed(house, occasion, found)
    return found


async def preview_project(house: House, occasion: Occasion, wish: Wish) -> Project:
    """The files of a project, to be looked at."""
    realm = await house.realms.current()
    made = await _made(house, realm, occasion, wish)
    await _record(house, occasion, made, Event.DATASET_READ, Outcome.ALLOWED)
    return made


async def start_project(house: House, occasion: Occasion, wish: Wish) -> Archive:
    """A project to take away: an archive, the same for the same answers; that it was given is recorded first."""
    realm = await house.realms.current()
    made = await _made(house, realm, occasion, wish)
    content = await aside(lambda: _packed(made))
    await _record(house, occasion, made, Event.PROJECT_STARTED, Outcome.DONE)
    return Archive(f"{made.answers.slug}.zip", content, made.revision)


async def draft_project(house: House, occasion: Occasion, wish: Wish, looked: Looked) -> Draft:
    """A project that is being thought about: what does not fit is said, and whatever does is shown."""
    realm = await house.realms.current()
    known = looked if looked.environment in realm.environment_names else replace(looked, environment=None)
    choices = await _choices(house, realm, occasion, known)
    named = replace(wish, environment=looked.environment or choices.environment)
    asked = tuple(sorted({name.strip() for name in wish.datasets or () if name.strip()}))
    wanted = Wanted(choices.environment)
    looked_up = asked[:MOST_DATASETS]
    drawn = await aside(lambda: _drawn(house, realm, occasion, wanted, looked_up)) if choices.environment else ()
    chosen = tuple(_mine(realm, each.name, each.actions) for each in drawn)
    usable = [each.name for each in drawn]
    # More than there may be are refused as they are: of those that are not looked up nothing is known.
    wished = usable if len(asked) <= MOST_DATASETS else asked
    project, refused = None, None
    try:
        project = await _made(house, realm, occasion.beside("project"), replace(named, datasets=wished))
    except (Invalid, NotAllowed, NotFound, TooLarge) as problem:
        refused = problem
    await _record_listed(house, occasion, choices, usable)
    left_out = tuple(name for name in looked_up if name not in usable)
    return Draft(choices, project, refused, chosen, left_out)


# --- what there is to choose -----------------------------------------------------------------------------------------


async def _choices(house: House, realm: Realm, occasion: Occasion, looked: Looked) -> Choices:
    environments = tuple(usual_first(realm.environment_names))
    if looked.environment:
        checked_known([looked.environment], realm.environment_names)
    environment = looked.environment or next(iter(environments), "")
    empty = Choices(house.starters.newest, environments, environment, (), 0, (), realm.revision)
    if not environment:
        return empty
    wanted = await house.confined(occasion, Wanted(environment))
    listing = await house.listing(realm, occasion, wanted)
    return await aside(lambda: _found(realm, empty, listing, looked))


def _found(realm: Realm, empty: Choices, listing: Listing, looked: Looked) -> Choices:
    """Of the datasets that the asker may use or know of, those that are looked for."""
    text = looked.text.strip().casefold()

    def fits(name: str) -> bool:
        dataset = realm.datasets[name]
        served = dataset.served and not dataset.is_pattern and dataset.definition(empty.environment) is not None
        return served and (not text or text in f"{name}\n{dataset.description}".casefold())

    usable = dict(listing.usable())
    mine = sorted(name for name in usable if fits(name))
    others = [name for name in listing.names(Action.DISCOVER) if name not in usable and fits(name)]
    limit = min(looked.limit, MOST_SHOWN)
    return replace(
        empty,
        mine=tuple(_mine(realm, name, usable[name]) for name in mine[:limit]),
        of=len(mine),
        others=tuple(_mine(realm, name, ()) for name in others[:limit]),
    )


def _mine(realm: Realm, name: str, actions: Sequence[Action | str]) -> Mine:
    dataset: Dataset | None = realm.resolve(name)
    return Mine(name, "" if dataset is None else dataset.description, tuple(map(Action, actions)))


# --- the project -----------------------------------------------------------------------------------------------------


async def _made(house: House, realm: Realm, occasion: Occasion, wish: Wish) -> Project:
    shelf = house.starters.shelf
    offer = shelf.newest if wish.version is None else shelf.of(wish.version)
    environments = realm.environment_names
    answers = answered(offer, wish, environments, sys.stdlib_module_names)
    wanted = await house.confined(occasion, Wanted(answers.environment, answers.slug))
    drawn = await aside(lambda: _drawn(house, realm, occasion, wanted, answers.datasets))
    missing = set(answers.datasets).difference(each.name for each in drawn)
    if missing:
        async with house.refusals_recorded(occasion, realm, *sorted(missing)):
            raise await aside(lambda: _refusal(realm, occasion, wanted, sorted(missing)))
    files = await aside(lambda: rendered(offer, answers, drawn, house.signer.issuer))
    return Project(answers, answers.told(offer), drawn, files, realm.revision)


def _drawn(house: House, realm: Realm, occasion: Occasion, wanted: Wanted, names: Sequence[str]) -> tuple[Drawn, ...]:
    """Those of the datasets that the asker may use, each as the project begins with it."""
    held = catalog_of_names(Standpoint(realm, occasion.asker, occasion.at), wanted, names)
    return tuple(
        drawn_of(each.dataset.name, each.actions, each.dataset.definition(wanted.environment) or {}, house.types)
        for each in held.entries
    )


def _refusal(realm: Realm, occasion: Occasion, wanted: Wanted, missing: Sequence[str]) -> Problem:
    """Why datasets cannot be put in; of what the asker may not know of, the answer for what was never there."""
    known = find_each(realm, occasion.asker, occasion.at, missing, wanted)
    if any(dataset is None for dataset in known.values()):
        return NotFound()
    names = ", ".join(missing)
    return NotAllowed(
        f"You may not use {names} in {wanted.environment} yet. Leave it out, or ask for it first: "
        f"kedro muniment request {' '.join(missing)}"
    )


def _packed(project: Project) -> bytes:
    """The files as a zip, in a folder of the project's name; equal files make equal bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for file in project.files:
            entry = zipfile.ZipInfo(f"{project.answers.slug}/{file.path}", _ALWAYS)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _READABLE, _UNIX
            archive.writestr(entry, file.text)
    return held.getvalue()


async def _record(house: House, occasion: Occasion, made: Project, event: Event, outcome: Outcome) -> None:
    answers = made.answers
    await house.ledger.record(
        row(
            occasion,
            event,
            outcome,
            revision=made.revision,
            environment=answers.environment,
            project=answers.slug,
            datasets=answers.datasets,
            details={"starter": answers.starter, "templates": answers.version, "files": len(made.files)},
        )
    )


async def _record_listed(house: House, occasion: Occasion, found: Choices, chosen: Sequence[str] = ()) -> None:
    await house.ledger.record(
        row(
            occasion,
            Event.DATASET_READ,
            Outcome.ALLOWED,
            revision=found.revision,
            environment=found.environment or None,
            datasets=tuple(chosen),
            details={"listed": len(found.mine) + len(found.others)},
        )
    )
