"""Rules are found by what they say, about whom, and when they end; and whom one means is told by who people are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from muniment.core.grants import Grant
from muniment.core.policies import Policy, PolicyKind
from muniment.core.rule_filters import Deed, Looked, Sort, about, facets, found, line_of, means
from muniment.core.rulebook import written
from tests.core.oracle import NOON
from tests.core.test_lint import LOAD, STATES, realm

ENDING = Grant("ending", "user:ann", LOAD, "sales.orders", until=NOON + timedelta(days=3), kind="dataset")
ENDED = Grant("ended", "user:ann", LOAD, "sales.orders", until=NOON - timedelta(days=3), kind="dataset")
LASTING = Grant("lasting", "analysts", LOAD, "sales", because="as long as the team exists")
SHUT = Policy("shut", 'forbid (principal, action, resource) unless { principal in Group::"hr-owners" };', "hr")
MASK = Policy(
    "mask",
    'permit (principal in Group::"guests", action == Action::"load", resource);',
    "sales",
    kind=PolicyKind.MASK,
    obligation={"columns": ["email"], "action": "replace-with-null"},
)
CLEARED = "permit (principal, action, resource) when { principal has clearance && principal.clearance > 1 };"
RULES: tuple[Policy | Grant, ...] = (ENDING, ENDED, LASTING, SHUT, MASK)
LINES = tuple(map(line_of, RULES))


def ids(looked: Looked) -> set[str]:
    of = realm(*RULES)
    concerning = about(of, written(of), looked.who, STATES[0]) if looked.who else frozenset[str]()
    return {line.id for line in found(LINES, looked, concerning, NOON)}


@pytest.mark.parametrize(
    ("looked", "those"),
    [
        (Looked(), {"grant:ending", "grant:ended", "grant:lasting", "shut", "mask"}),
        (Looked("LOAD orders"), {"grant:ending", "grant:ended"}),
        (Looked("shut"), {"shut"}),
        (Looked(domain="hr"), {"shut"}),
        (Looked(domain="all"), {"grant:ending", "grant:ended", "grant:lasting", "shut", "mask"}),
        (Looked(who="user:ann"), {"grant:ending", "grant:ended", "grant:lasting"}),
        (Looked(who="group:hr-owners"), {"shut"}),
        (Looked(who="group:hr"), set()),
        (Looked(deed=Deed.FORBID), {"shut"}),
        (Looked(deed=Deed.MASK), {"mask"}),
        (Looked(sort=Sort.GRANT), {"grant:ending", "grant:ended", "grant:lasting"}),
        (Looked(soon=True), {"grant:ending"}),
        (Looked("load", deed=Deed.PERMIT, soon=True), {"grant:ending"}),
    ],
)
def test_every_field_narrows_what_is_found(looked: Looked, those: set[str]) -> None:
    if looked.who and looked.who.startswith("group:"):
        of = realm(*RULES)
        concerning = about(of, written(of), looked.who, None)
        assert {line.id for line in found(LINES, looked, concerning, NOON)} == those
    else:
        assert ids(looked) == those


def test_a_facet_counts_what_each_of_its_choices_would_leave() -> None:
    counted = facets(LINES, Looked(deed=Deed.FORBID), frozenset(), NOON)
    assert dict(counted.deeds) == {Deed.PERMIT: 3, Deed.FORBID: 1, Deed.MASK: 1}
    assert dict(counted.sorts) == {Sort.POLICY: 1}
    assert dict(counted.domains) == {"hr": 1, "all": 1}
    assert counted.soon == 0
    assert facets(LINES, Looked(), frozenset(), NOON).soon == 1


@pytest.mark.parametrize(
    ("cedar", "those"),
    [
        ('permit (principal in Group::"analysts", action, resource);', {"user:ann"}),
        ('permit (principal in Group::"locals", action, resource);', {"user:ann"}),
        ('permit (principal == Service::"nightly", action, resource);', {"service:nightly"}),
        ("permit (principal, action, resource);", {"user:ann", "user:carl", "service:nightly"}),
        (CLEARED, {"user:carl"}),
        ("permit (principal is User, action, resource);", {"user:ann", "user:carl"}),
        (
            'permit (principal, action == Action::"load", resource) when { context.environment == "prod" };',
            {"user:ann", "user:carl", "service:nightly"},
        ),
        (
            'forbid (principal, action, resource) unless { principal in Group::"contractors" };',
            {"user:ann", "service:nightly"},
        ),
    ],
)  # fmt: skip
def test_whom_a_rule_means_is_told_by_who_they_are(cedar: str, those: set[str]) -> None:
    of = realm(Policy("p", cedar))
    assert {str(state.subject) for state in means(of, "p", STATES)} == those
