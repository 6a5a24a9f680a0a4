"""``/declare/import``: the catalog of a Kedro project, pasted, seen entry by entry, and declared together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response

from muniment.core.bodies import body_of
from muniment.core.dataset_forms import entry_text
from muniment.core.dataset_types import KnownTypes
from muniment.core.environments import BASE
from muniment.core.names import is_environment
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.core.projects.conf import REASONS, Left
from muniment.core.projects.written import settings_text
from muniment.flows.declare_dataset import Desk, begin_to_declare
from muniment.flows.house import House
from muniment.flows.import_catalog import Entry, ReadCatalog, read_catalog
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import plain
from muniment.web.diffs import Line
from muniment.web.pages import page_router, show
from muniment.web.visiting import Housed, Posting, Visiting, all_of, form_for, form_of
from muniment.web.words import WORDS

router = page_router()

#: How many entries are brought in at once: a form with more boxes than this is not read.
MOST_ENTRIES: Final = 300

_CATALOG: Final = "catalog."
_GLOBALS: Final = "globals"


@dataclass(frozen=True)
class Shown:
    """An entry, as its row shows it."""

    entry: Entry
    chosen: bool
    type: str
    faults: tuple[str, ...]
    diff: tuple[Line, ...]


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
    """The chosen entries declared, all or none, if that still does what was seen."""
    fields = await form_of(request)
    chosen = frozenset(await all_of(request, "take"))
    read = await _read(house, visiting, fields)
    try:
        together = read.together(chosen, reason_in(fields))
        tried = await save(house, visiting.occasion, together, fields.get("seal", ""))
    except Problem as refused:
        return await _refused(request, house, visiting, fields, read, chosen, refused)
    if tried is not None:
        return _review(request, visiting, fields, read, chosen, tried, moved=True)
    return show(
        "declare/imported.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        names=sorted(chosen & {each.name for each in read.entries}),
        settings=settings_text(
            read.only(chosen),
            KnownTypes.newest(),
            domain=fields.get("domain", ""),
            url=request.app.state.public_url,
        ),
    )


async def _read(house: House, visiting: Visit, fields: Mapping[str, str]) -> ReadCatalog:
    occasion = visiting.occasion.beside("read")
    return await read_catalog(house, occasion, fields.get("domain", ""), _texts(fields))


def _texts(fields: Mapping[str, str]) -> dict[str, str]:
    """The files of a conf that the form holds, by their paths in it."""
    found = {
        f"{environment}/catalog.yml": fields[f"{_CATALOG}{environment}"].replace("\r\n", "\n")
        for environment in _environments(fields)
        if fields[f"{_CATALOG}{environment}"].strip()
    }
    if fields.get(_GLOBALS, "").strip():
        found["base/globals.yml"] = fields[_GLOBALS].replace("\r\n", "\n")
    return found


def _environments(fields: Mapping[str, str]) -> list[str]:
    """The environments for which the form has a field, base among them."""
    return [
        name for field in fields if field.startswith(_CATALOG) and is_environment(name := field.removeprefix(_CATALOG))
    ]


def _errors(fields: Mapping[str, str]) -> dict[str, str]:
    words = WORDS["import"]
    if not fields.get("domain"):
        return {"domain": str(words["no_domain"])}
    if not any(path.endswith("/catalog.yml") for path in _texts(fields)):
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
        entries=[each for each in _shown(read, chosen) if each.chosen],
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
        entries=_shown(read, chosen) if read is not None else [],
        left=[ShownLeft(each, REASONS[each.reason]) for each in read.imported.left] if read is not None else [],
        more=len(read.entries) > MOST_ENTRIES if read is not None else False,
        errors=dict(errors or {}),
    )


def _shown(read: ReadCatalog, chosen: Collection[str] | None) -> list[Shown]:
    return [
        Shown(
            each,
            each.offered if chosen is None else each.name in chosen,
            ", ".join(
                dict.fromkeys(str(definition.get("type", "")) for definition in each.taken.environments.values())
            ),
            tuple(dict.fromkeys(fault.message for fault in each.faults)),
            _diff(each),
        )
        for each in read.entries[:MOST_ENTRIES]
    ]


def _diff(entry: Entry) -> tuple[Line, ...]:
    """What would change of the dataset that stands there."""
    if entry.standing is None:
        return ()
    before, after = (entry_text(entry.name, body_of(each)) for each in (entry.standing, entry.proposed))
    return diffs.lines(before, after)


def _kept(fields: Mapping[str, str]) -> dict[str, str]:
    """What travels with the page: the texts as they were pasted, and where they shall stand."""
    return {name: text for name, text in fields.items() if name in {"domain", _GLOBALS} or name.startswith(_CATALOG)}
