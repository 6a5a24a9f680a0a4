"""Requests for access: what time does to them, who decides, and what an approval grants."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decision, Wanted, decide_each
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.identifiers import derived
from muniment.core.names import lineage
from muniment.core.policies import Policy, PolicyKind
from muniment.core.problems import Conflict, Invalid, NotAllowed, NotFound, StaleEdit
from muniment.core.realm import Change, Realm
from muniment.core.requests import (
    ESCALATES_AFTER,
    EXPIRES_AFTER,
    LONGEST,
    AccessRequest,
    Approval,
    Ending,
    Narrowing,
    Standing,
    State,
    Terms,
    approved,
    check_another,
    check_pending,
    check_possible,
    check_worth_asking,
    checked_terms,
    command,
    eyes_needed,
    grants_of,
    id_floor,
    narrowed,
    notes,
    standings,
)
from muniment.core.schema import Action
from muniment.core.subjects import Subject, SubjectState
from tests.core.oracle import NOON, SCHEMA

DEFINITION = {"type": "pandas.CSVDataset", "filepath": "s3://lake/x.csv"}
NAMES = ("sales.emea.leads", "sales.emea.offers", "sales.emea.targets")
ENVIRONMENTS = ("dev", "prod")
LOAD = frozenset({Action.LOAD})
BOTH = frozenset({Action.LOAD, Action.SAVE})
KNOWING = 'permit (principal, action == Action::"discover", resource);'

NOTHING = Standing(reads=False, decides=False, due=False)
READER = Standing(reads=True, decides=False, due=False)
DECIDER = Standing(reads=True, decides=True, due=True)
OVERRULING = Standing(reads=True, decides=True, due=False)


def state_of(name: str) -> SubjectState:
    return SubjectState(Subject.parse(f"user:{name}"), "corp")


ANN, SAM, BOSS, OLGA = map(state_of, ("ann", "sam", "boss", "olga"))


def realm(*policies: str | Policy, grants: tuple[Grant, ...] = (), known: bool = True) -> Realm:
    """Sam approves in sales.emea, Boss in sales alone, and Olga administers; everybody may know of everything."""
    standing = [
        Grant("sam", "user:sam", frozenset({Action.APPROVE}), "sales.emea"),
        Grant("olga", "user:olga", frozenset({Action.ADMINISTER}), "all"),
        *grants,
    ]
    boss = 'permit (principal == User::"boss", action == Action::"approve", resource == Domain::"sales");'
    texts = [*([KNOWING] if known else []), boss, *policies]
    rules = [text if isinstance(text, Policy) else Policy(f"p{n}", text) for n, text in enumerate(texts)]
    return Realm(
        1,
        SCHEMA,
        datasets={name: Dataset(name, "team", environments={"base": DEFINITION}) for name in NAMES},
        domains={name: Domain(name, "team") for name in ("sales", "sales.emea")},
        environments={name: Environment(name) for name in ENVIRONMENTS},
        policies={rule.id: rule for rule in rules},
        grants={grant.id: grant for grant in standing},
    )


def terms_of(*names: str, **more: object) -> Terms:
    asked = Terms(LOAD, names or NAMES[:1], frozenset({"dev"}), NOON + timedelta(days=90))
    return replace(asked, **more)


def request_of(*names: str, **more: object) -> AccessRequest:
    return AccessRequest("r", ANN.subject, terms_of(*names, **more), "the report", NOON)


def standing(realm: Realm, who: SubjectState, request: AccessRequest, after: timedelta = timedelta()) -> Standing:
    (found,) = standings(realm, who, NOON + after, [request])
    return found


# --- time -----------------------------------------------------------------------------------------------------------


def test_an_undecided_request_expires_and_a_decided_one_stays_what_it_is():
    request = request_of()
    end = NOON + EXPIRES_AFTER
    assert request.state(end - timedelta(seconds=1)) is State.PENDING
    assert request.state(end) is State.EXPIRED
    denied = replace(request, ending=Ending(State.DENIED, SAM.subject, NOON))
    assert denied.state(end) is State.DENIED


def test_a_request_is_over_when_what_it_asks_for_would_be():
    assert request_of(until=NOON + timedelta(days=2)).state(NOON + timedelta(days=2)) is State.EXPIRED


def test_a_request_rises_one_domain_at_a_time_and_stops_rising_when_it_is_over():
    request = request_of()
    steps = [request.escalated_to(NOON + n * ESCALATES_AFTER) for n in range(5)]
    assert steps == [(), ("sales",), ("sales", "all"), ("sales", "all"), ("sales", "all")]
    assert [request.with_administrators(NOON + n * ESCALATES_AFTER) for n in range(4)] == [False, False, False, True]
    ended = replace(request, ending=Ending(State.DENIED, SAM.subject, NOON))
    assert ended.escalated_to(NOON + 9 * ESCALATES_AFTER) == ()
    assert request.steps(NOON + 99 * EXPIRES_AFTER) == EXPIRES_AFTER // ESCALATES_AFTER


def test_ids_sort_by_the_time_of_asking():
    origin = UUID("0190e7a0-0000-7000-8000-000000000000")
    at = NOON.fromtimestamp((origin.int >> 80) / 1000, NOON.tzinfo)
    assert id_floor(at) <= str(derived(origin, "request")) < id_floor(at + timedelta(milliseconds=1))


# --- who decides ----------------------------------------------------------------------------------------------------


def test_approvers_of_the_domain_decide_and_whoever_asked_only_reads():
    there = realm(grants=(Grant("ann", "user:ann", frozenset({Action.APPROVE}), "sales"),))
    assert standing(there, SAM, request_of()) == DECIDER
    assert standing(there, ANN, request_of()) == READER
    assert standing(there, state_of("eve"), request_of()) == NOTHING


def test_whoever_approves_in_a_domain_above_may_from_the_beginning():
    there = realm(grants=(Grant("chief", "user:chief", frozenset({Action.APPROVE}), "all"),))
    assert standing(there, state_of("chief"), request_of()) == DECIDER


def test_those_who_approve_above_alone_decide_once_it_has_come_to_them():
    assert standing(realm(), BOSS, request_of()) == NOTHING
    assert standing(realm(), BOSS, request_of(), ESCALATES_AFTER) == DECIDER


def test_administrators_may_decide_at_any_time_and_are_bothered_last():
    last = len(lineage("sales.emea")) * ESCALATES_AFTER
    assert standing(realm(), OLGA, request_of()) == OVERRULING
    assert standing(realm(), OLGA, request_of(), last) == DECIDER


def test_no_waiting_lets_anybody_past_a_rule_that_forbids_them_to_approve():
    forbid = 'forbid (principal, action == Action::"approve", resource == Dataset::"sales.emea.leads");'
    scoped = realm(Policy("scoped", forbid, scope="sales.emea"))
    everywhere = realm(forbid)
    for who in (SAM, BOSS):
        assert standing(scoped, who, request_of(), ESCALATES_AFTER) == NOTHING
    assert standing(scoped, OLGA, request_of()).decides
    assert not standing(everywhere, OLGA, request_of(), 9 * ESCALATES_AFTER).decides


def test_one_dataset_that_may_not_be_approved_is_enough():
    one = Grant("one", "user:one", frozenset({Action.APPROVE}), NAMES[0], kind="dataset")
    there = realm(grants=(one,))
    assert standing(there, state_of("one"), request_of(*NAMES[:1])) == DECIDER
    assert standing(there, state_of("one"), request_of(*NAMES[:2])) == NOTHING


def test_an_approver_who_may_not_know_of_a_dataset_is_told_nothing():
    assert standing(realm(known=False), SAM, request_of()) == NOTHING
    assert standing(realm(known=False), OLGA, request_of()) == OVERRULING


def test_auditors_read_and_do_not_decide():
    there = realm(grants=(Grant("aud", "user:audrey", frozenset({Action.AUDIT}), "sales"),))
    assert standing(there, state_of("audrey"), request_of()) == READER


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.sampled_from([ANN, SAM, BOSS, OLGA]))
def test_many_requests_are_judged_as_each_by_itself(names, who):
    requests = [request_of(name) for name in names] + [request_of(*sorted(names))]
    together = standings(realm(), who, NOON + ESCALATES_AFTER, requests)
    assert list(together) == [standing(realm(), who, each, ESCALATES_AFTER) for each in requests]


# --- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"actions": frozenset()}, "actions"),
        ({"actions": frozenset({Action.DISCOVER})}, "actions"),
        ({"datasets": ()}, "datasets"),
        ({"datasets": ("sales.a", "sales.a")}, "datasets"),
        ({"datasets": ("sales.a", "hr.a")}, "datasets"),
        ({"datasets": ("sales.{region}_a",)}, "datasets"),
        ({"datasets": tuple(f"sales.a{n}" for n in range(51))}, "datasets"),
        ({"environments": frozenset()}, "environments"),
        ({"until": NOON}, "until"),
        ({"until": NOON + LONGEST + timedelta(seconds=1)}, "until"),
    ],
)
def test_what_nobody_could_grant_is_refused_by_its_place(wrong, at):
    with pytest.raises(Invalid) as refused:
        checked_terms(terms_of(**wrong), NOON)
    assert [fault.at for fault in refused.value.faults] == [at]


def test_hidden_and_absent_are_one():
    for name in ("sales.emea.leads", "sales.emea.never"):
        with pytest.raises(NotFound):
            check_worth_asking(realm(known=False), ANN, request_of(name))


def test_what_is_allowed_for_as_long_is_not_asked_for():
    for_good = Grant("ann", "user:ann", LOAD, "sales")
    with pytest.raises(Conflict, match="already"):
        check_worth_asking(realm(grants=(for_good,)), ANN, request_of())
    for_now = replace(for_good, until=NOON + timedelta(days=5))
    check_worth_asking(realm(grants=(for_now,)), ANN, request_of())
    check_worth_asking(realm(grants=(for_good,)), ANN, request_of(actions=BOTH))


def test_asking_is_offered_only_where_it_can_help():
    typed = command(Action.SAVE, "sales.emea.leads", "prod", Decision(allowed=False))
    assert typed == "kedro muniment request sales.emea.leads --save --environment prod"
    assert command(Action.LOAD, "sales.emea.leads", "prod", Decision(allowed=True)) is None
    assert command(Action.LOAD, "sales.emea.leads", "prod", Decision(allowed=False, because=("forbid",))) is None
    assert command(Action.DISCOVER, "sales.emea.leads", "prod", Decision(allowed=False)) is None


# --- approving ------------------------------------------------------------------------------------------------------

_subsets = st.none() | st.frozensets(st.sampled_from([Action.LOAD, Action.SAVE, Action.DISCOVER]))
_names = st.none() | st.lists(st.sampled_from([*NAMES, "hr.people"]), max_size=3).map(tuple)
_places = st.none() | st.frozensets(st.sampled_from([*ENVIRONMENTS, "qa"]))
_ends = st.none() | st.integers(-10, 200).map(lambda days: NOON + timedelta(days=days))


@given(st.builds(Narrowing, _subsets, _names, _places, _ends))
def test_an_approver_leaves_some_of_the_terms_and_never_more(narrowing):
    asked = terms_of(*NAMES[:2], actions=BOTH, environments=frozenset(ENVIRONMENTS))
    try:
        left = narrowed(asked, narrowing, NOON)
    except Invalid:
        return
    assert set() < left.actions <= asked.actions
    assert set() < set(left.datasets) <= set(asked.datasets)
    assert set() < left.environments <= asked.environments
    assert NOON < left.until <= asked.until


@given(
    st.frozensets(st.sampled_from([Action.LOAD, Action.SAVE]), min_size=1),
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted).map(tuple),
    st.frozensets(st.sampled_from(ENVIRONMENTS), min_size=1),
    st.sampled_from([None, "forecasting"]),
)
def test_the_grants_let_the_requester_do_the_terms_and_nothing_else(actions, names, environments, purpose):
    request = replace(request_of(), asked=terms_of(*names, actions=actions, environments=environments), purpose=purpose)
    before = realm()
    after = before.after(2, [Change(Grant, grant.id, grant) for grant in grants_of(request, request.terms)])
    for environment in ENVIRONMENTS:
        for who in (ANN, SAM):
            for moment in (NOON, request.terms.until):
                decided = decide_each(
                    after, who, Wanted(environment, None, purpose), moment, [after.datasets[name] for name in NAMES]
                )
                for name, each in zip(NAMES, decided, strict=True):
                    meant = name in names and environment in environments and who is ANN and moment == NOON
                    assert set(each.actions) == (set(actions) if meant else set())


def test_access_for_a_purpose_is_for_no_other():
    request = replace(request_of(), purpose="forecasting")
    before = realm()
    after = before.after(2, [Change(Grant, grant.id, grant) for grant in grants_of(request, request.terms)])
    datasets = [after.datasets[NAMES[0]]]
    for purpose, expected in (("forecasting", (Action.LOAD,)), ("marketing", ()), (None, ())):
        (decided,) = decide_each(after, ANN, Wanted("dev", None, purpose), NOON, datasets)
        assert decided.actions == expected


def test_it_takes_as_many_approvers_as_it_ever_needed():
    yes = Approval(SAM.subject, NOON, "fine")
    alone = approved(request_of(), terms_of(), yes, eyes=1)
    assert (alone.state(NOON), alone.grants) == (State.APPROVED, ("req-r",))
    first = approved(request_of(), terms_of(), yes, eyes=2)
    assert (first.state(NOON), first.grants, first.eyes) == (State.PENDING, (), 2)
    second = approved(first, terms_of(), Approval(BOSS.subject, NOON), eyes=1)
    assert (second.state(NOON), second.eyes, len(second.approvals)) == (State.APPROVED, 2, 2)
    with pytest.raises(NotAllowed, match="somebody else"):
        check_another(first, SAM.subject)


def test_restricted_data_takes_two():
    there = realm()
    restricted = replace(there.datasets[NAMES[1]], classification="restricted")
    now = there.after(2, [Change(Dataset, NAMES[1], restricted)])
    assert eyes_needed(there, NAMES) == 1
    assert eyes_needed(now, NAMES) == 2
    assert eyes_needed(now, NAMES[:1]) == 1


def test_an_approval_that_the_world_has_overtaken_says_how():
    gone = realm().after(2, [Change(Environment, "dev", None)])
    with pytest.raises(Conflict, match="no environment dev any more"):
        check_possible(gone, SAM, NOON, request_of(), terms_of(), ANN)
    with pytest.raises(Conflict, match=r"user:ann may no longer know of sales\.emea\.leads"):
        check_possible(realm(known=False), SAM, NOON, request_of(), terms_of(), ANN)
    there = realm()
    undefined = there.after(2, [Change(Dataset, NAMES[0], replace(there.datasets[NAMES[0]], environments={}))])
    with pytest.raises(Conflict, match="no definition in dev"):
        check_possible(undefined, SAM, NOON, request_of(), terms_of(), ANN)


def test_notes_tell_what_the_grants_did_not_do():
    frozen = 'forbid (principal, action == Action::"save", resource);'
    before = realm(frozen, grants=(Grant("ann", "user:ann", LOAD, NAMES[0], kind="dataset"),))
    request = request_of(*NAMES[:2], actions=BOTH)
    after = before.after(2, [Change(Grant, grant.id, grant) for grant in grants_of(request, request.terms)])
    assert notes(before, after, request, ANN, NOON) == (
        "user:ann may load sales.emea.leads in dev already.",
        "user:ann may not save sales.emea.leads in dev even so: another rule stands against it.",
        "user:ann may not save sales.emea.offers in dev even so: another rule stands against it.",
    )


def test_a_mask_is_not_lifted_by_asking_and_an_approver_is_told_that_it_lies_there():
    text = 'permit (principal, action == Action::"load", resource);'
    mask = Policy("mask", text, kind=PolicyKind.MASK, obligation={"columns": ["email"], "action": "replace-with-null"})
    masked = realm(mask, grants=(Grant("ann", "user:ann", LOAD, "sales"),))
    with pytest.raises(Conflict, match="which no grant lifts"):
        check_worth_asking(masked, ANN, request_of())
    before, request = realm(mask), request_of()
    after = before.after(2, [Change(Grant, grant.id, grant) for grant in grants_of(request, request.terms)])
    (note,) = notes(before, after, request, ANN, NOON)
    assert note == "user:ann may load sales.emea.leads in dev only as the masks and filters leave it."


def test_what_is_decided_or_has_moved_on_is_not_decided_again():
    open_one = replace(request_of(), version=3)
    check_pending(open_one, NOON, None)
    check_pending(open_one, NOON, 3)
    with pytest.raises(StaleEdit, match="changed after version 2"):
        check_pending(open_one, NOON, 2)
    with pytest.raises(StaleEdit, match="expired"):
        check_pending(open_one, NOON + EXPIRES_AFTER, None)
    denied = replace(open_one, ending=Ending(State.DENIED, SAM.subject, NOON))
    with pytest.raises(StaleEdit, match=r"denied since .* by user:sam"):
        check_pending(denied, NOON, None)
