"""A steward looks again at rules whose day has come, and keeps or ends them in one sitting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from muniment.core.dataset_types import KnownTypes
from muniment.core.grants import Grant
from muniment.core.ledger import Event, Outcome, row
from muniment.core.occasions import Occasion
from muniment.core.policies import Policy
from muniment.core.problems import Conflict, Invalid, NotAllowed, NotFound, Problem, StaleEdit
from muniment.core.realm import Realm
from muniment.core.reviews import Due, Keep, Verdict, check_sitting, due
from muniment.core.rulebook import Written, all_readable
from muniment.flows.change_realm import Changed, Plan, Planner, change_realm, judge_one, refused_changes_recorded
from muniment.flows.edit_policy import plan_grant, plan_grant_end, plan_policy, plan_policy_end
from muniment.flows.house import House, aside
from muniment.store import grants, ledger, policies
from muniment.store.lines import Standing

#: How far back the ledger is asked when a rule was last used.
LAST_USED = timedelta(days=365)

#: For how long it is believed at one revision how many rules are due: a rule may give a right at some hours alone.
_BELIEVED = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ToReview:
    """A rule that is due: since when it stands as it does and by whom, and when a checked run last rested on it."""

    due: Due
    standing: Standing | None
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class DuePage:
    """A page of the rules that are due, the key of the last where more follow, and how many there are in all."""

    found: Sequence[ToReview]
    following: str | None
    total: int
    revision: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What came of a sitting: each verdict with the rule as it stands now, nothing for one that was ended."""

    verdicts: tuple[tuple[Verdict, Written | None], ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Sat:
    """What came of a sitting in which each rule is decided about for itself: what was done, and what was refused.

    Nothing was done where all of it was refused.
    """

    done: Reviewed | None
    refused: tuple[tuple[Verdict, Problem], ...]


async def list_due(
    house: House, occasion: Occasion, scope: str | None, due_by: date | None, limit: int, after: str
) -> DuePage:
    """A page of the rules that are to be looked at by a day (none: by today), the most urgent first."""
    realm = await house.realms.current()
    today = _today(occasion)
    found = await aside(
        lambda: due(
            realm,
            all_readable(realm, occasion.asker, occasion.at).values(),
            by=due_by or today,
            today=today,
            scope=scope,
        )
    )
    following = [each for each in found if _key(each) > after]
    page = following[:limit]
    details = {"read": "reviews", "scope": scope or ""}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    async with house.db.begin() as tx:
        standing = await policies.LINE.standing(tx)
        standing |= {f"grant:{id_}": since for id_, since in (await grants.LINE.standing(tx)).items()}
        used = await ledger.last_settled(tx, (Event.PREFLIGHT_ALLOWED,), occasion.at - LAST_USED)
    listed = [ToReview(each, standing.get(each.id), used.get(each.id)) for each in page]
    return DuePage(listed, _key(page[-1]) if len(following) > limit else None, len(found), realm.revision)


async def count_due(house: House, occasion: Occasion) -> int:
    """How many rules the asker is to look at by today."""
    realm = await house.realms.current(occasion.revision)
    today = _today(occasion)
    key = (f"due {today.isoformat()}", occasion.asker.digest)
    known = house.acquainted.get(realm.revision, key, occasion.at)
    number = known if isinstance(known, int) else None
    if number is None:
        number = await aside(lambda: _count(realm, occasion, today))
        house.acquainted.put(realm.revision, key, number, occasion.at + _BELIEVED)
    details = {"read": "reviews", "due": number}
    await house.ledger.record(
        row(occasion, Event.RULES_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return number


def _count(realm: Realm, occasion: Occasion, today: date) -> int:
    readable = all_readable(realm, occasion.asker, occasion.at)
    return len(due(realm, readable.values(), by=today, today=today))


async def review_access(house: House, occasion: Occasion, verdicts: Sequence[Verdict]) -> Reviewed:
    """Keep and end rules as one reviewer decided, all or none: one revision, one row that tells every reason."""
    changed = await change_realm(house, occasion, plan_review(occasion, verdicts))
    return Reviewed(tuple(_stand(verdicts, changed)), changed.revision)


async def sit(house: House, occasion: Occasion, verdicts: Sequence[Verdict]) -> Sat:
    """Keep and end those of the rules that may be, in one revision, and say of each other why it stands as it did.

    What nobody could mean (a day gone by, a rule twice) refuses the whole sitting, as :func:`review_access` does.
    """
    realm = await house.realms.current()
    async with refused_changes_recorded(house, occasion, realm):
        check_sitting(verdicts, _today(occasion))
    refused = await aside(lambda: tuple(_refused(house.types, realm, occasion, verdicts)))
    for number, (_, problem) in enumerate(refused):
        with suppress(Problem):
            async with refused_changes_recorded(house, occasion.beside(f"refused {number}"), realm):
                raise problem
    without = {(verdict.kind, verdict.id) for verdict, _ in refused}
    left = [verdict for verdict in verdicts if (verdict.kind, verdict.id) not in without]
    done = await review_access(house, occasion, left) if left else None
    return Sat(done, refused)


def plan_review(occasion: Occasion, verdicts: Sequence[Verdict]) -> Planner:
    """Deciding about several rules; each as its own edit would be, by the same rights."""

    def plan(realm: Realm) -> Plan:
        check_sitting(verdicts, _today(occasion))
        readable = all_readable(realm, occasion.asker, occasion.at)
        plans = [_planned(realm, occasion, readable, verdict) for verdict in verdicts]
        kept = sum(isinstance(verdict.decision, Keep) for verdict in verdicts)
        return Plan(
            Event.ACCESS_REVIEWED,
            tuple(edit for each in plans for edit in each.edits),
            tuple(sorted({name for each in plans for name in each.datasets})),
            tuple(id_ for each in plans for id_ in each.policies),
            details={"decisions": [dict(verdict.told) for verdict in verdicts]},
            reason=f"access review: {kept} kept, {len(verdicts) - kept} ended",
        )

    return plan


def _refused(
    types: KnownTypes, realm: Realm, occasion: Occasion, verdicts: Sequence[Verdict]
) -> Iterator[tuple[Verdict, Problem]]:
    """The verdicts that would be refused if each were a sitting of its own, and why."""
    for verdict in verdicts:
        try:
            judge_one(types, realm, occasion, plan_review(occasion, [verdict]))
        except (NotAllowed, NotFound, Conflict, Invalid, StaleEdit) as refused:
            yield verdict, refused


def _planned(realm: Realm, occasion: Occasion, readable: Mapping[str, Written], verdict: Verdict) -> Plan:
    """One verdict as the edit that it is."""
    id_ = verdict.id if verdict.kind == "policy" else f"grant:{verdict.id}"
    rule = readable.get(id_)
    if rule is None:
        raise NotFound
    if rule.version != verdict.version:
        message = f"Someone changed {id_} after version {verdict.version}. It is at version {rule.version} now: "
        raise StaleEdit(f"{message}look at it again.", version=rule.version)
    try:
        return _planner(occasion, rule, verdict)(realm)
    except NotAllowed as refused:
        detail = f"{id_}: {refused.detail}"
        raise NotAllowed(detail) from refused


def _planner(occasion: Occasion, rule: Written, verdict: Verdict) -> Planner:
    match rule, verdict.decision:
        case Policy(), Keep(review_by):
            return plan_policy(occasion, replace(rule, review_by=review_by), verdict.version)
        case Grant(), Keep(review_by):
            return plan_grant(occasion, replace(rule, review_by=review_by), verdict.version)
        case Policy(), _:
            return plan_policy_end(occasion, rule.id, verdict.version)
        case _:
            return plan_grant_end(occasion, rule.id, verdict.version)


def _stand(verdicts: Sequence[Verdict], changed: Changed) -> Iterator[tuple[Verdict, Written | None]]:
    for verdict, noun in zip(verdicts, changed.nouns, strict=True):
        yield verdict, noun if isinstance(noun, Policy | Grant) else None


def _today(occasion: Occasion) -> date:
    return occasion.at.astimezone(UTC).date()


def _key(each: Due) -> str:
    return f"{each.review_by.isoformat()} {each.id}"
