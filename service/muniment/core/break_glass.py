"""Breaking the glass: in an emergency a few people may give themselves access, for hours, and loudly.

It is the one way in which somebody widens their own access. So it needs to be allowed by
the deployment before the emergency, it ends by itself, it says why, and nobody can do it
unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from muniment.core import keys
from muniment.core.environments import checked_known
from muniment.core.grants import Grant
from muniment.core.identifiers import derived
from muniment.core.keys import Key
from muniment.core.names import ROOT
from muniment.core.occasions import Occasion
from muniment.core.problems import Conflict, Fault, Invalid, NotAllowed
from muniment.core.realm import Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.sign_ins import Bounds, Use
from muniment.core.subjects import Kind, Subject, SubjectState

#: The longest that broken glass stays open.
LONGEST = timedelta(hours=8)

#: The ids of the grants that are made by it begin so.
BROKEN = "break-glass-"

#: Who an emergency key speaks as. No provider gives this name, and no other key is made for it.
HELPER: Final = Subject(Kind.SERVICE, keys.HELPER)


@dataclass(frozen=True, slots=True)
class Emergency:
    """What somebody needs in an emergency, for how long, and why."""

    actions: frozenset[Action]
    on: str
    kind: Literal["dataset", "domain"]
    lasting: timedelta
    because: str
    environments: frozenset[str] = frozenset()


def grant_in(realm: Realm, occasion: Occasion, emergency: Emergency, breakers: str | None) -> Grant:
    """The grant by which the asker helps in an emergency.

    ``breakers`` is the group whose members may do so, if the deployment names one. Raises
    :class:`NotAllowed` for everybody else, and :class:`Invalid` for an emergency without
    end, reason or place.
    """
    if breakers is None or breakers not in realm.all_groups_of(occasion.asker):
        raise NotAllowed("Only those whom the operator has named for emergencies may break the glass.")
    _check(realm, emergency)
    return Grant(
        id=f"{BROKEN}{occasion.row_id}",
        to=str(occasion.subject),
        actions=emergency.actions,
        on=emergency.on,
        kind=emergency.kind,
        environments=emergency.environments,
        until=(occasion.at + emergency.lasting).replace(microsecond=0),
        because=emergency.because,
    )


def emergency_key(occasion: Occasion, lasting: timedelta, because: str) -> Key:
    """The key by which an operator helps in an emergency; raises :class:`Invalid` for one without end or reason."""
    _check_said(lasting, because)
    return Key(
        id=str(derived(occasion.request_id, "key")),
        subject=HELPER,
        bounds=Bounds(Use.CHANGES),
        at=occasion.at,
        by=occasion.subject,
        because=because,
        until=(occasion.at + lasting).replace(microsecond=0),
    )


def grant_to(key: Key, realm: Realm, occasion: Occasion) -> Grant:
    """All that governs, to whoever has an emergency key and as long; no data.

    Raises :class:`Conflict` on a realm that has not begun.
    """
    if realm.revision == 0:
        raise Conflict("Nobody administers this realm yet, so no glass need be broken. Begin it: muniment serve")
    return Grant(
        id=f"{BROKEN}{occasion.row_id}",
        to=str(key.subject),
        actions=frozenset(GOVERNING_ACTIONS),
        on=ROOT,
        until=key.until,
        because=key.because,
    )


def check_not_joining(before: Realm, after: Realm, author: SubjectState, breakers: str | None) -> None:
    """Refuse a change by which its author comes to be among those who may break the glass."""
    if breakers is None or breakers not in after.all_groups_of(author) or breakers in before.all_groups_of(author):
        return
    raise NotAllowed("Nobody names themselves for emergencies: somebody else who administers Muniment does it.")


def _check_said(lasting: timedelta, because: str) -> None:
    if not timedelta(0) < lasting <= LONGEST:
        message = f"Broken glass is mended after at most {LONGEST // timedelta(hours=1)} hours; say for how many."
        raise Invalid(message, [Fault("hours", message)])
    if not because.strip():
        message = "Say why: it will be read."
        raise Invalid(message, [Fault("because", message)])


def _check(realm: Realm, emergency: Emergency) -> None:
    _check_said(emergency.lasting, emergency.because)
    if not emergency.actions:
        message = "Name at least one action."
        raise Invalid(message, [Fault("actions", message)])
    on_domain = emergency.kind == "domain"
    stands = emergency.on in realm.domain_tree if on_domain else realm.resolve(emergency.on) is not None
    if not stands:
        message = f"There is no {emergency.kind} of this name."
        raise Invalid(message, [Fault("on", message)])
    checked_known(emergency.environments, realm.environment_names, at="environments")
