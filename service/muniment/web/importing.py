"""``/declare/import``: the catalog of a Kedro project, pasted, seen entry by entry, and declared together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import Request, Response

from muniment.core.bodies import body_of
from muniment.core.dataset_forms import entry_text
from muniment.core.dataset_types import KnownTypes
from muniment.core.environments import BASE
from muniment.core.names import is_environment
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.core.projects.conf import REASONS, Left, Reason
from muniment.core.projects.written import settings_text
from muniment.flows.declare_dataset import Desk, begin_to_declare
from muniment.flows.house import House
from muniment.flows.import_catalog import SAVED, Entry, ReadCatalog, read_brought, read_catalog
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import plain
from muniment.web.diffs import Line
from muniment.web.pages import go, page_router, show
from muniment.web.visiting import Housed, Posting, Visiting, all_of, form_for, form_of
from muniment.web.words import WORDS
from muniment.web.words.texts import one_of

router = page_router()

#: How many entries are brought in at once: a form with more boxes than this is not read.
MOST_ENTRIES: Final = 300

_IN_LAYER: Final = re.compile(r"environments\.(?P<environment>[^. ]+)(?: \(in [^)]*\))?\.(?P<argument>.+)\Z", re.DOTALL)
_CATALOG: Final = "catalog."
_GLOBALS: Final = "globals"


@dataclass(frozen=True)
class Shown:
    """An entry, as its row shows it; ``faults`` are what is wrong, each with the places where it is."""

    entry: Entry
    chosen: bool
    type: str
    faults: tuple[tuple[str, str], ...]
    diff: tuple[Line, ...]


@dataclass(frozen=True)
class Counts:
    """How many entries there are of each kind."""

    new: int
    otherwise: int
    wrong: int
    same: int
    left: int


@dataclass(frozen=True)
class ShownLeft:
    """An entry that stays the project's own, and why."""

    left: Left
    means: str


@router.get("/declare/import")
async def get_import(request: Request, house: Housed, visiting: Visiting, domain: str = "") -> Response:
    """Where a catalog is pasted."""
    desk = await begin_to_declare(house, visiting.occasion)
    return _page(request, visiting, desk, {"domain": domain})


@router.post("/declare/import")
async def post_import(request: Request, house: Housed, visiting: Posting) -> Response:
    """What was pasted, entry by entry; or what the chosen ones would change."""
    fields = await form_of(request)
    chosen = frozenset(await all_of(request, "take"))
    errors = _errors(fields)
    if errors:
        return await _again(request, house, visiting, fields, errors=errors)
    read = await _read(house, visiting, fields)
    if fields.get("do") != "check":
        return await _again(request, house, visiting, fields, read=read, chosen=chosen or None)
    if not chosen:
        errors = {"take": str(WORDS["import"]["none_chosen"])}
        return await _again(request, house, visiting, fields, read=read, chosen=chosen, errors=errors)
    try:
        tried = await look(house, visiting.occasion, read.together(chosen))
    except Problem as refused:
        return await _refused(request, house, visiting, fields, read, chosen, refused)
    return _review(request, visiting, fields, read, chosen, tried)


@router.post("/declare/import/save")
async def post_save(request: Request, house: Housed, visiting: Posting) -> Response:
    """The chosen entries declared, all or none, if that still does what was seen; then on to what came of it."""
    fields = await form_of(request)
    chosen = frozenset(await all_of(request, "take"))
    read = await _read(house, visiting, fields, chosen)
    try:
        together = read.together(chosen, reason_in(fields))
        tried = await save(house, visiting.occasion, together, fields.get("seal", ""))
    except Problem as refused:
        return await _refused(request, house, visiting, fields, read, chosen, refused)
    if tried is not None:
        return _review(request, visiting, fields, read, chosen, tried, moved=True)
    return go(f"/declare/imported/{visiting.occasion.request_id}")


@router.get("/declare/imported/{id}")
async def get_imported(request: Request, house: Housed, visiting: Visiting, id: UUID) -> Response:  # noqa: A002
    """What came over of a catalog, and what did not, by the request that saved it."""
    brought = await read_brought(house, visiting.occasion, id)
    return show(
        "declare/imported.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        names=sorted(brought.imported.names.values()),
        domain=brought.domain,
        left=[(name, _why(why)) for name, why in brought.left],
        further=brought.further,
        settings=settings_text(
            brought.imported, KnownTypes.newest(), domain=brought.domain, url=request.app.state.public_url
        ),
    )


def _why(why: Reason | str) -> str:
    """Why an entry did not come over, in words."""
    return REASONS[why] if isinstance(why, Reason) else one_of(WORDS["import"]["whys"], why)


async def _read(
    house: House, visiting: Visit, fields: Mapping[str, str], chosen: Collection[str] | None = None
) -> ReadCatalog:
    occasion = visiting.occasion.beside(SAVED)
    return await read_catalog(house, occasion, fields.get("domain", ""), _texts(fields), chosen)


def _texts(fields: Mapping[str, str]) -> dict[str, str]:
    """The files of a conf that the form holds, by their paths in it."""
    found = {
        f"{environment}/{file}": text
        for environment in _environments(fields)
        for file, text in _files(fields[f"{_CATALOG}{environment}"])
    }
    if fields.get(_GLOBALS, "").strip():
        found["base/globals.yml"] = fields[_GLOBALS].replace("\r\n", "\n")
    return found


def _files(pasted: str) -> Iterator[tuple[str, str]]:
    """The files of one environment, between whose texts stand lines of ``---``; each line keeps its number."""
    lines = pasted.replace("\r\n", "\n").split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    spans = zip((-1, *ends), (*ends, len(lines)), strict=True)
    texts = ["\n" * (start + 1) + "\n".join(lines[start + 1 : end]) for start, end in spans]
    for number, text in enumerate(filter(str.strip, texts), start=1):
        yield ("catalog.yml" if number == 1 else f"catalog_{number}.yml"), text


def _environments(fields: Mapping[str, str]) -> list[str]:
    """The environments for which the form has a field, base among them."""
    return [
        name for field in fields if field.startswith(_CATALOG) and is_environment(name := field.removeprefix(_CATALOG))
    ]


def _errors(fields: Mapping[str, str]) -> dict[str, str]:
    words = WORDS["import"]
    if not fields.get("domain"):
        return {"domain": str(words["no_domain"])}
    if not any("/catalog" in path for path in _texts(fields)):
        return {"catalog.base": str(words["no_text"])}
    return {}


def _review(
    request: Request,
    visiting: Visit,
    fields: Mapping[str, str],
    read: ReadCatalog,
    chosen: Collection[str],
    tried: Tried,
    *,
    moved: bool = False,
) -> Response:
    return show(
        "declare/import_review.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        entries=_shown((each for each in read.entries if each.name in chosen), chosen),
        variables=sorted(read.variables.items()),
        fields=_kept(fields),
        chosen=sorted(chosen),
        foreseen=foreseen(tried),
        moved=moved,
    )


async def _refused(
    request: Request,
    house: House,
    visiting: Visit,
    fields: Mapping[str, str],
    read: ReadCatalog,
    chosen: Collection[str],
    refused: Problem,
) -> Response:
    """The entries again, with why they cannot be declared together."""
    if isinstance(refused, NotFound | Unavailable):
        raise refused
    change = refused.members.get("change")
    proposals = read.together(chosen).proposals
    named = f"{proposals[change].key[1]}: " if isinstance(change, int) and change < len(proposals) else ""
    told = "; ".join(dict.fromkeys(each.message for each in refused.faults)) if isinstance(refused, Invalid) else ""
    status = 403 if isinstance(refused, NotAllowed) else 412 if isinstance(refused, StaleEdit) else 422
    errors = {"": f"{named}{told or plain(refused.detail)}"}
    return await _again(request, house, visiting, fields, read=read, chosen=chosen, errors=errors, status=status)


async def _again(
    request: Request,
    house: House,
    visiting: Visit,
    fields: Mapping[str, str],
    *,
    read: ReadCatalog | None = None,
    chosen: Collection[str] | None = None,
    errors: Mapping[str, str] | None = None,
    status: int | None = None,
) -> Response:
    desk = await begin_to_declare(house, visiting.occasion.beside("again"))
    return _page(request, visiting, desk, fields, read, chosen, errors, status or (422 if errors else 200))


def _page(
    request: Request,
    visiting: Visit,
    desk: Desk,
    fields: Mapping[str, str],
    read: ReadCatalog | None = None,
    chosen: Collection[str] | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    return show(
        "declare/import.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        desk=desk,
        domains=[(each, each) for each in desk.domains],
        environments=[each for each in dict.fromkeys((*desk.environments, *_environments(fields))) if each != BASE],
        said=fields,
        read=read,
        entries=_shown(_listed(read)[:MOST_ENTRIES], chosen) if read is not None else [],
        left=[ShownLeft(each, REASONS[each.reason]) for each in read.imported.left] if read is not None else [],
        counts=_counts(read) if read is not None else None,
        more=len(_listed(read)) > MOST_ENTRIES if read is not None else False,
        errors=dict(errors or {}),
    )


def _listed(read: ReadCatalog) -> list[Entry]:
    """The entries that somebody decides about: first those that are to be mended, then what stands otherwise."""
    return sorted(
        (each for each in read.entries if not each.same),
        key=lambda each: (not each.faults, each.standing is None, each.name),
    )


def _counts(read: ReadCatalog) -> Counts:
    listed = _listed(read)
    wrong = sum(bool(each.faults) for each in listed)
    otherwise = sum(not each.faults and each.standing is not None for each in listed)
    same = len(read.entries) - len(listed)
    return Counts(len(listed) - wrong - otherwise, otherwise, wrong, same, len(read.imported.left))


def _shown(entries: Iterable[Entry], chosen: Collection[str] | None) -> list[Shown]:
    return [
        Shown(
            each,
            each.offered if chosen is None else each.name in chosen,
            ", ".join(
                dict.fromkeys(str(definition.get("type", "")) for definition in each.taken.environments.values())
            ),
            _faults(each),
            _diff(each),
        )
        for each in entries
    ]


def _faults(entry: Entry) -> tuple[tuple[str, str], ...]:
    """What is wrong with an entry, and where: ``filepath``, or in which environments, where there are several."""
    found: dict[str, dict[str, None]] = {}
    for fault in entry.faults:
        layer = _IN_LAYER.match(fault.at)
        if layer is None:
            place = ""
        elif len(entry.proposed.environments) > 1:
            place = f"{layer['environment']}: {layer['argument']}"
        else:
            place = layer["argument"]
        found.setdefault(fault.message, {})[place] = None
    return tuple((", ".join(filter(None, places)), message) for message, places in found.items())


def _diff(entry: Entry) -> tuple[Line, ...]:
    """What would change of the dataset that stands there."""
    if entry.standing is None:
        return ()
    before, after = (entry_text(entry.name, body_of(each)) for each in (entry.standing, entry.proposed))
    return diffs.lines(before, after)


def _kept(fields: Mapping[str, str]) -> dict[str, str]:
    """What travels with the page: the texts as they were pasted, and where they shall stand."""
    return {name: text for name, text in fields.items() if name in {"domain", _GLOBALS} or name.startswith(_CATALOG)}
