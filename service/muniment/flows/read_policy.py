"""Somebody who writes rules has one read before it is kept: what it would say, and what is wrong with it."""

from __future__ import annotations

from muniment.core.drafts import Draft, read_draft
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import NotAllowed
from muniment.core.schema import Action
from muniment.core.visibility import roles
from muniment.flows.house import House, aside


async def read_policy(house: House, occasion: Occasion, proposed: Policy) -> tuple[Draft, int]:
    """What a policy would be, and the revision by whose schema and environments it was judged; nothing is changed.

    The answer is made of the text alone: nothing that stands is looked at.
    """
    realm = await house.realms.current()
    held = await aside(lambda: roles(realm, occasion.asker, occasion.at))
    async with house.refusals_recorded(occasion, realm):
        if not any({Action.GRANT, Action.ADMINISTER} & set(actions) for actions in held.values()):
            raise NotAllowed("You may write rules in no domain; ask somebody who grants or administers.")
    draft = await aside(lambda: read_draft(proposed, schema=realm.schema, environments=realm.environment_names))
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details={"read": "draft"})
    )
    return draft, realm.revision
