"""``/declare/domains``: the tree of business areas, each with its owner, where its data may lie, and its variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from muniment.core.domains import Domain
from muniment.core.groups import parse_group, write_group
from muniment.core.leases import LONGEST
from muniment.core.names import checked_domain
from muniment.core.occasions import Occasion
from muniment.flows.browse_realm import list_domains
from muniment.flows.edit_domain import draft_domain
from muniment.flows.house import House
from muniment.web.plain_forms import LONGEST_TEXT, Blank, Drafted, Listed, PlainForm, pages_of, variables_in, written
from muniment.web.typed import Reading
from muniment.web.words import WORDS

_LONGEST_LOCATION: Final = 1_024
_LONGEST_TYPE: Final = 200
_FEWEST_HOURS: Final = 0.25
_MOST_HOURS: Final = LONGEST / timedelta(hours=1)


async def _listed(house: House, occasion: Occasion) -> Iterable[Listed]:
    shelf = await list_domains(house, occasion)
    return [Listed(each.name, write_group(each.owner), each.description) for _, each in sorted(shelf.things.items())]


async def _drafted(house: House, occasion: Occasion, name: str) -> Drafted[Domain]:
    drafted = await draft_domain(house, occasion, name)
    return Drafted(drafted.standing, drafted.administers)


def _domain(name: str, reading: Reading) -> Domain:
    owner = reading.line("owner")
    owners = reading.each("owner", [owner if ":" in owner else f"group:{owner}"], parse_group)
    return Domain(
        name=name,
        owner=owners[0] if owners else "",
        description=reading.text("description", LONGEST_TEXT),
        variables=variables_in(reading),
        locations=reading.lines("locations", _LONGEST_LOCATION),
        types=reading.lines("types", _LONGEST_TYPE),
        lease_hours=_hours(reading),
    )


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


def _fields(domain: Domain) -> Mapping[str, str]:
    return {
        "owner": write_group(domain.owner),
        "description": domain.description,
        "locations": "\n".join(domain.locations),
        "variables": written(domain.variables),
        "types": "\n".join(domain.types),
        "lease_hours": "" if domain.lease_hours is None else str(domain.lease_hours),
    }


router = pages_of(
    PlainForm(
        word="domain",
        blanks=(
            Blank("description", rows=2),
            Blank("variables", rows=5, code=True),
            Blank("owner", optional=False, administered=True),
            Blank("locations", rows=3, code=True, administered=True),
            Blank("types", rows=3, code=True, administered=True),
            Blank("lease_hours", administered=True, width="short", inputmode="decimal"),
        ),
        longest_name=200,
        checked=checked_domain,
        listed=_listed,
        draft=_drafted,
        read=_domain,
        write=_fields,
    )
)
