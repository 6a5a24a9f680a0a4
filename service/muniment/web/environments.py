"""``/declare/environments``: the closed list of environments, and what their variables stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muniment.core.environments import Environment
from muniment.core.names import checked_environment
from muniment.core.occasions import Occasion
from muniment.flows.browse_realm import list_environments
from muniment.flows.edit_environment import draft_environment
from muniment.flows.house import House
from muniment.web.plain_forms import LONGEST_TEXT, Blank, Drafted, Listed, PlainForm, pages_of, variables_in, written
from muniment.web.typed import Reading


async def _listed(house: House, occasion: Occasion) -> Iterable[Listed]:
    shelf = await list_environments(house, occasion)
    return [Listed(each.name, "", each.description) for _, each in sorted(shelf.things.items())]


async def _drafted(house: House, occasion: Occasion, name: str) -> Drafted[Environment]:
    return Drafted(await draft_environment(house, occasion, name))


def _environment(name: str, reading: Reading) -> Environment:
    return Environment(name, reading.text("description", LONGEST_TEXT), variables_in(reading))


def _fields(environment: Environment) -> Mapping[str, str]:
    return {"description": environment.description, "variables": written(environment.variables)}


router = pages_of(
    PlainForm(
        word="environment",
        blanks=(Blank("description", rows=2), Blank("variables", rows=5, code=True)),
        longest_name=40,
        checked=checked_environment,
        listed=_listed,
        draft=_drafted,
        read=_environment,
        write=_fields,
    )
)
