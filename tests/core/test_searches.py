"""Who may do this is the transpose of what each may do: the same answers, found the other way round."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from muniment.core.datasets import Dataset
from muniment.core.decisions import Wanted
from muniment.core.policies import Policy, PolicyKind
from muniment.core.realm import Change, Realm
from muniment.core.schema import GOVERNING_ACTIONS, Action
from muniment.core.searches import Governing, Use, datasets_used, judge_each, who_may
from muniment.core.subjects import Subject
from tests.bench.fixture import SCHEMA, Size, changes, people

AT = datetime(2026, 11, 23, tzinfo=UTC)
WANTED = Wanted("prod")
PEOPLE = [person.state for person in people(20)]

#: Policies that are hard to decide by: one for anybody, one that errs, one that obliges.
OTHERS = (
    Policy(
        "for-anybody",
        'permit (principal, action == Action::"discover", resource) when '
        "{ principal has clearance && principal.clearance > 80 && resource.sensitivity > 30 };",
    ),
    Policy(
        "errs",
        'forbid (principal, action == Action::"load", resource) when '
        "{ resource.sensitivity > 60 && principal.clearance + 9223372036854775807 > 0 };",
    ),
    Policy(
        "masked",
        'permit (principal, action == Action::"load", resource) when { resource.tags.contains("pii") };',
        kind=PolicyKind.MASK,
        obligation={"columns": ["name"], "action": "replace-with-null"},
    ),
)

GOVERNING = {
    "stewards": 'permit (principal in Group::"sales-analysts", action == Action::"approve", '
    'resource in Domain::"sales");',
    "owners": 'permit (principal, action == Action::"grant", resource) when { principal in resource.owner };',
    "everywhere": 'permit (principal in Group::"risk-planners", action == Action::"administer", '
    'resource == Domain::"all");',
}


@pytest.fixture(scope="module")
def realm() -> Realm:
    """A company, and policies that are hard to decide by."""
    company = Realm(0, SCHEMA).after(1, changes(Size(40, 100)))
    return company.after(2, [Change(Policy, policy.id, policy) for policy in OTHERS])


@pytest.mark.parametrize("action", [Action.DISCOVER, Action.LOAD])
def test_who_may_use_a_dataset_is_everybody_of_whom_it_is_decided(realm: Realm, action: Action) -> None:
    shares = []
    for dataset in list(realm.datasets.values())[::2]:
        use = Use(action, dataset, WANTED)
        told = {about.subject: decision for about, decision in who_may(realm, PEOPLE, AT, use)}
        brute = {about.subject: judge_each(realm, about, AT, [use])[0] for about in PEOPLE}
        assert told == {subject: each.decision for subject, each in brute.items() if each.allowed}
        shares.append(len(told) / len(brute))
    assert len(set(shares)) > 3


def test_what_a_subject_may_use_is_every_dataset_of_which_it_is_decided(realm: Realm) -> None:
    for about, action in product(PEOPLE[:5], (Action.DISCOVER, Action.LOAD, Action.SAVE)):
        uses = [Use(action, dataset, WANTED) for dataset in realm.datasets.values()]
        judged = judge_each(realm, about, AT, uses)
        allowed = [use.dataset.name for use, each in zip(uses, judged, strict=True) if each.allowed]
        assert list(datasets_used(realm, about, AT, WANTED, action)) == sorted(allowed)


def test_who_may_govern_is_everybody_of_whom_it_is_decided(realm: Realm) -> None:
    """Seen to fail with the permits on domains above left out."""
    governed = realm.after(3, [Change(Policy, id_, Policy(id_, text)) for id_, text in GOVERNING.items()])
    things: list[Dataset | str] = ["all", "sales", "sales.emea", "risk", *realm.datasets.values()]
    found: set[tuple[Action, Subject]] = set()
    for action, on in product(GOVERNING_ACTIONS, things):
        if not (action is Action.ADMINISTER and isinstance(on, Dataset)):
            deed = Governing(action, on)
            told = {about.subject for about, _ in who_may(governed, PEOPLE, AT, deed)}
            assert told == {about.subject for about in PEOPLE if judge_each(governed, about, AT, [deed])[0].allowed}
            found.update((action, subject) for subject in told)
    assert {action for action, _ in found} == {Action.APPROVE, Action.GRANT, Action.ADMINISTER}
