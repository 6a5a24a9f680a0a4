"""``/v1/subjects``: whether somebody may sign in, what they hold here, and handing it over when they leave."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import StringConstraints

from muniment.api.asking import Asking, Housed
from muniment.api.bodies import Body, Name
from muniment.api.versions import stamp
from muniment.core.grants import Grant
from muniment.core.groups import parse_group, write_group
from muniment.core.moments import write_moment
from muniment.core.rulebook import Written
from muniment.core.schema import Action
from muniment.core.sentences import sentence
from muniment.core.subjects import Subject
from muniment.flows.enrol_subject import (
    Enrolled,
    admit_subject,
    end_all_sign_ins,
    end_sign_ins,
    end_subject,
    read_enrolment,
)
from muniment.flows.hand_over import hand_over, read_holdings

router = APIRouter(prefix="/v1/subjects", tags=["subjects"])

#: How many datasets that somebody may use are listed.
_MOST_USES = 1_000

_Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n]*\S[^\r\n]*$")]


class RuleBody(Body):
    """A rule about the subject, by the id that decisions name, and what it says."""

    id: str
    kind: Literal["policy", "grant"]
    scope: str
    version: int
    says: str


class OwnsBody(Body):
    """What is owned, by name."""

    domains: list[str]
    datasets: list[str]


class HoldingsBody(Body):
    """What a subject holds, as far as the asker may see it.

    ``alone`` are groups that own something and have no other known member. ``addressed`` are
    rules for this subject alone, ``named`` others that name it, ``wrote`` the rules that stand
    as the subject put them. ``token_groups`` are the identity provider's, told to those who
    oversee everything.
    """

    subject: str
    owns: OwnsBody
    alone: dict[str, list[str]]
    groups: list[str]
    token_groups: list[str]
    addressed: list[RuleBody]
    named: list[RuleBody]
    wrote: list[str]
    may_use: dict[str, dict[str, list[Action]]]
    more_to_use: int
    seen_at: str | None
    known_subjects: int


class HandOverBody(Body):
    """To whom, a group (``group:sales-owners``) or a subject (``user:ben``), and why."""

    to: Name
    reason: _Reason


class HandedOverBody(Body):
    """What was handed over: owned things, local groups left, rules ended; and the rules that name the subject still."""

    subject: str
    to: str
    owns: OwnsBody
    groups: list[str]
    ended: list[str]
    still_named: list[str]
    revision: int


class ReasonBody(Body):
    """Why."""

    reason: _Reason


class EnrolmentBody(Body):
    """Whether a subject may sign in, and who decided so, when and why; nobody did for most.

    Sign-ins that began before ``tokens_since`` have ended.
    """

    subject: str
    active: bool
    tokens_since: str | None
    at: str | None
    by: str
    reason: str
    seen_at: str | None


class SignInsEndedBody(Body):
    """How many sessions, and which keys have ended. Every token that was issued before has, too."""

    subject: str
    sessions: int
    keys: list[str]


@router.get("/{subject}")
async def get_subject(house: Housed, asking: Asking, response: Response, subject: str) -> EnrolmentBody:
    """Whether a subject may sign in: to administrators and auditors of `all`, and to itself."""
    return _enrolment(response, await read_enrolment(house, asking, Subject.parse(subject)))


@router.post("/end-sign-ins")
async def post_end_all_sign_ins(
    house: Housed, asking: Asking, response: Response, body: ReasonBody
) -> SignInsEndedBody:
    """End all that anybody has signed in with until now, yourself included: for when keys of a provider have leaked."""
    ended = await end_all_sign_ins(house, asking, body.reason)
    stamp(response, revision=ended.revision)
    return SignInsEndedBody(subject="everybody", sessions=ended.sessions, keys=list(ended.keys))


@router.post("/{subject}/end")
async def post_end(house: Housed, asking: Asking, response: Response, subject: str, body: ReasonBody) -> EnrolmentBody:
    """End a subject's access: its sessions, keys, tokens and open requests; its next request is refused."""
    return _enrolment(response, await end_subject(house, asking, Subject.parse(subject), body.reason))


@router.post("/{subject}/admit")
async def post_admit(
    house: Housed, asking: Asking, response: Response, subject: str, body: ReasonBody
) -> EnrolmentBody:
    """Let a subject sign in again. What it had signed in with before stays ended."""
    return _enrolment(response, await admit_subject(house, asking, Subject.parse(subject), body.reason))


@router.post("/{subject}/end-sign-ins")
async def post_end_sign_ins(
    house: Housed, asking: Asking, response: Response, subject: str, body: ReasonBody
) -> SignInsEndedBody:
    """End all that a subject has signed in with until now; it may sign in anew. Everybody may for themselves."""
    about = Subject.parse(subject)
    ended = await end_sign_ins(house, asking, about, body.reason)
    stamp(response, revision=ended.revision)
    return SignInsEndedBody(subject=str(about), sessions=ended.sessions, keys=list(ended.keys))


@router.get("/{subject}/holdings")
async def get_holdings(house: Housed, asking: Asking, response: Response, subject: str) -> HoldingsBody:
    """What a subject owns, is granted, wrote and may use: all of it to auditors and administrators of `all`."""
    about = Subject.parse(subject)
    held = await read_holdings(house, asking, about)
    stamp(response, revision=held.revision)
    found = held.holdings
    listed = list(found.uses.items())[:_MOST_USES]
    return HoldingsBody(
        subject=str(about),
        owns=OwnsBody(domains=list(found.domains), datasets=list(found.datasets)),
        alone={write_group(group): list(names) for group, names in found.alone.items()},
        groups=[write_group(group) for group in found.groups],
        token_groups=[write_group(group) for group in held.token_groups],
        addressed=[_rule(id_, held.rules[id_]) for id_ in found.addressed],
        named=[_rule(id_, held.rules[id_]) for id_ in found.named],
        wrote=list(held.wrote),
        may_use={name: {where: list(actions) for where, actions in used.items()} for name, used in listed},
        more_to_use=len(found.uses) - len(listed),
        seen_at=write_moment(held.seen_at) if held.seen_at else None,
        known_subjects=held.known_subjects,
    )


@router.post("/{subject}/hand-over")
async def post_hand_over(
    house: Housed, asking: Asking, response: Response, subject: str, body: HandOverBody
) -> HandedOverBody:
    """Give somebody else what a subject owns, end the rules for it alone, take it out of local groups: all or none."""
    about = Subject.parse(subject)
    to = parse_group(body.to)
    done = await hand_over(house, asking, about, to, body.reason)
    stamp(response, revision=done.revision)
    return HandedOverBody(
        subject=str(about),
        to=write_group(to),
        owns=OwnsBody(domains=list(done.domains), datasets=list(done.datasets)),
        groups=[write_group(group) for group in done.groups],
        ended=list(done.ended),
        still_named=[*done.left.addressed, *done.left.named],
        revision=done.revision,
    )


def _enrolment(response: Response, enrolled: Enrolled) -> EnrolmentBody:
    stamp(response, revision=enrolled.revision)
    found = enrolled.enrolment
    return EnrolmentBody(
        subject=str(found.subject),
        active=found.active,
        tokens_since=write_moment(found.tokens_since) if found.tokens_since else None,
        at=write_moment(found.at) if found.at else None,
        by=found.by,
        reason=found.reason,
        seen_at=write_moment(enrolled.seen_at) if enrolled.seen_at else None,
    )


def _rule(id_: str, rule: Written) -> RuleBody:
    kind: Literal["policy", "grant"] = "grant" if isinstance(rule, Grant) else "policy"
    return RuleBody(id=id_, kind=kind, scope=rule.scope, version=rule.version, says=sentence(rule))
