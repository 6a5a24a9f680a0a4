"""``/declare/domains``: the tree of business areas, each with its owner, where its data may lie, and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal
from urllib.parse import quote

from fastapi import Request, Response

from muniment.core.bodies import body_of
from muniment.core.catalog import dumped
from muniment.core.domains import Domain
from muniment.core.groups import parse_group, write_group
from muniment.core.leases import LONGEST
from muniment.core.names import checked_domain
from muniment.core.problems import Invalid, NotAllowed, NotFound, Problem, StaleEdit, Unavailable
from muniment.flows.browse_realm import list_domains
from muniment.flows.change_together import Put, Together
from muniment.flows.edit_domain import Drafted, draft_domain
from muniment.flows.house import House
from muniment.flows.sign_in import Visit
from muniment.flows.try_changes import Tried
from muniment.web import diffs
from muniment.web.consequences import foreseen, look, reason_in, save
from muniment.web.dataset_forms import errors_beside, plain
from muniment.web.environments import variables_in, written
from muniment.web.pages import go, page_router, show
from muniment.web.typed import Reading
from muniment.web.visiting import Housed, Posting, Visiting, form_for, form_of
from muniment.web.words import WORDS

router = page_router()

_FIELDS: Final = ("version", "owner", "description", "locations", "variables", "types", "lease_hours")
_LONGEST_TEXT: Final = 10_000
_LONGEST_LOCATION: Final = 1_024
_LONGEST_TYPE: Final = 200
_FEWEST_HOURS: Final = 0.25
_MOST_HOURS: Final = LONGEST / timedelta(hours=1)
_HERE: Final = "/declare/domains"


@router.get("/declare/domains")
async def get_domains(request: Request, house: Housed, visiting: Visiting, name: str = "") -> Response:
    """The domains that somebody may know of; or on to the form of the one that is named."""
    errors: dict[str, str] = {}
    try:
        if name.strip():
            return go(f"{_HERE}/{quote(checked_domain(name.strip()))}")
    except Invalid as refused:
        errors = {"name": refused.detail}
    shelf = await list_domains(house, visiting.occasion)
    return show(
        "declare/domains.html",
        status=422 if errors else 200,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        domains=[(each, write_group(each.owner)) for _, each in sorted(shelf.things.items())],
        said=name,
        errors=errors,
    )


@router.get("/declare/domains/{name}")
async def get_domain(
    request: Request, house: Housed, visiting: Visiting, name: str, done: Literal["yes"] | None = None
) -> Response:
    """The form of a domain, as it stands or new."""
    drafted = await draft_domain(house, visiting.occasion, name)
    fields = _fields(drafted.standing) if drafted.standing is not None else {"version": "0"}
    return _form(request, visiting, name, fields, drafted, done=done is not None)


@router.post("/declare/domains/{name}")
async def post_domain(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What a change would do; or the form again, as it was sent."""
    fields = await form_of(request)
    if fields.get("do") == "back":
        return _form(request, visiting, name, fields, await draft_domain(house, visiting.occasion, name))
    try:
        tried = await look(house, visiting.occasion, _together(name, fields))
    except Problem as refused:
        return await _refused(request, house, visiting, name, fields, refused)
    return await _review(request, house, visiting, name, fields, tried)


@router.post("/declare/domains/{name}/save")
async def post_save(request: Request, house: Housed, visiting: Posting, name: str) -> Response:
    """What was seen, saved: if it still does what was seen."""
    fields = await form_of(request)
    try:
        tried = await save(house, visiting.occasion, _together(name, fields), fields.get("seal", ""))
    except Problem as refused:
        return await _refused(request, house, visiting, name, fields, refused)
    if tried is not None:
        return await _review(request, house, visiting, name, fields, tried, moved=True)
    return go(f"{_HERE}/{quote(name)}", done="yes")


def _domain(name: str, fields: Mapping[str, str]) -> Domain:
    reading = Reading(fields)
    owner = reading.line("owner")
    owners = reading.each("owner", [owner if ":" in owner else f"group:{owner}"], parse_group)
    proposed = Domain(
        name=checked_domain(name),
        owner=owners[0] if owners else "",
        description=reading.text("description", _LONGEST_TEXT),
        variables=variables_in(reading),
        locations=reading.lines("locations", _LONGEST_LOCATION),
        types=reading.lines("types", _LONGEST_TYPE),
        lease_hours=_hours(reading),
    )
    reading.check()
    return proposed


def _hours(reading: Reading) -> float | None:
    """For how many hours, kept as it is written: 8 stays 8."""
    text = reading.line("lease_hours")
    if not text:
        return None
    try:
        hours = int(text) if text.isdecimal() else float(text)
    except ValueError:
        hours = 0
    if not _FEWEST_HOURS <= hours <= _MOST_HOURS:
        reading.wrong("lease_hours", str(WORDS["domain"]["wrong_hours"]).format(most=int(_MOST_HOURS)))
        return None
    return hours


def _together(name: str, fields: Mapping[str, str]) -> Together:
    version = Reading(fields).number("version") or 0
    return Together((Put(_domain(name, fields), version),), reason_in(fields))


def _fields(domain: Domain) -> dict[str, str]:
    return {
        "version": str(domain.version),
        "owner": write_group(domain.owner),
        "description": domain.description,
        "locations": "\n".join(domain.locations),
        "variables": written(domain.variables),
        "types": "\n".join(domain.types),
        "lease_hours": "" if domain.lease_hours is None else str(domain.lease_hours),
    }


async def _review(
    request: Request,
    house: House,
    visiting: Visit,
    name: str,
    fields: Mapping[str, str],
    tried: Tried,
    *,
    moved: bool = False,
) -> Response:
    drafted = await draft_domain(house, visiting.occasion.beside("review"), name)
    before = _text(drafted.standing) if drafted.standing is not None else ""
    after = _text(_domain(name, fields))
    return show(
        "declare/review.html",
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        named=name,
        place=f"{_HERE}/{quote(name)}",
        new=drafted.standing is None,
        fields={each: fields.get(each, "") for each in _FIELDS},
        diff=diffs.lines(before, after),
        after=after,
        same=drafted.standing is not None and before == after,
        foreseen=foreseen(tried),
        moved=moved,
    )


def _text(domain: Domain) -> str:
    return dumped({domain.name: body_of(domain)})


async def _refused(
    request: Request, house: House, visiting: Visit, name: str, fields: Mapping[str, str], refused: Problem
) -> Response:
    if isinstance(refused, NotFound | Unavailable):
        raise refused
    errors = errors_beside(refused, _FIELDS) if isinstance(refused, Invalid) else {"": plain(refused.detail)}
    status = 403 if isinstance(refused, NotAllowed) else 412 if isinstance(refused, StaleEdit) else 422
    drafted = await draft_domain(house, visiting.occasion.beside("refused"), name)
    return _form(request, visiting, name, fields, drafted, errors=errors, status=status)


def _form(
    request: Request,
    visiting: Visit,
    name: str,
    fields: Mapping[str, str],
    drafted: Drafted,
    *,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
    done: bool = False,
) -> Response:
    return show(
        "declare/domain.html",
        status=status,
        here="datasets",
        visiting=visiting,
        form=form_for(request),
        name=name,
        place=f"{_HERE}/{quote(name)}",
        fields={each: fields.get(each, "") for each in _FIELDS},
        administers=drafted.administers,
        errors=dict(errors or {}),
        done=done,
    )
