"""The checker finds what is planted in a history that holds, each kind of it, and nothing where nothing was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults import history
from tests.faults.checker import Evidence, Recorded, expected_of, violations
from tests.faults.history import Asked, Changed, Fault, Given, History, Received, Recorder, Told

SECOND = 1_000_000_000
HEALS = 5.0
LEASE, CATALOG = "lease.served", "catalog.served"
#: What Cedar lets Ann do at each revision: at the second one the orders are taken away from her.
DECIDED: dict[int, Given] = {
    1: {"sales.orders": ("load",), "hr.rates": ("load", "save")},
    2: {"hr.rates": ("load", "save")},
}
VERSIONS = {"sales.orders": 3, "hr.rates": 1}
FORBIDDING = {"scope": "all", "cedar": "forbid (principal, action, resource);", "reason": "change 1"}


def digest(revision: int, *, lease: bool) -> str:
    return expected_of(DECIDED[revision], VERSIONS, lease=lease).decided_sha256


def asked(event: str, began: float, receipt: str, revision: int, body: str, **other: object) -> Asked:
    answer = Asked(
        "user:ann",
        event,
        "dev",
        int(began * SECOND),
        int((began + 0.5) * SECOND),
        200,
        receipt=receipt,
        revision=revision,
        tag=f"tag of {body}",
        body=body,
    )
    return replace(answer, **other)  # type: ignore[arg-type]


def row(event: str, receipt: str, revision: int, body: str | None) -> Recorded:
    decided = digest(revision, lease=event == LEASE)
    return Recorded(
        f"id of {receipt}", event, "user:ann", "dev", revision, receipt, f"request of {receipt}", decided, body
    )


@dataclass
class Case:
    """A history, and what it is held against."""

    history: History
    rows: list[Recorded]
    lines: dict[int, tuple[str, str, Mapping[str, Any] | None]]

    def found(self) -> list[str]:
        evidence = Evidence(
            self.rows, lambda _, event, __, at: expected_of(DECIDED[at], VERSIONS, lease=event == LEASE), self.lines
        )
        return [violation.kind for violation in violations(self.history, evidence, heals=HEALS)]

    def answer(self, receipt: str, **other: object) -> None:
        """Let an answer be another one than it was."""
        place = next(index for index, each in enumerate(self.history.asked) if each.receipt == receipt)
        self.history.asked[place] = replace(self.history.asked[place], **other)  # type: ignore[arg-type]

    def record(self, receipt: str, **other: object) -> None:
        """Let a row say another thing than it said."""
        place = next(index for index, each in enumerate(self.rows) if each.receipt == receipt)
        self.rows[place] = replace(self.rows[place], **other)  # type: ignore[arg-type]


@pytest.fixture
def case() -> Case:
    """Ann asks, a rule is made, she asks again; a fault refuses her once, and is over at 12."""
    return Case(
        History(
            asked=[
                asked(LEASE, 1, "a", 1, "all"),
                asked(CATALOG, 1, "b", 1, "names of all"),
                asked(LEASE, 2, "c", 1, "", status=304, tag="tag of all"),
                asked(LEASE, 3.2, "d", 1, "all"),  # while the rule is being made: by either revision
                asked(LEASE, 5, "e", 2, "less"),
                asked(LEASE, 11, "", -1, "", status=503, tag="", problem="/problems/database-unavailable"),
                asked(LEASE, 11, "", -1, "", status=0, tag="", lost="ConnectionResetError"),
                asked(LEASE, 13, "f", 2, "less"),
            ],
            changed=[Changed("policy", "shut", FORBIDDING, 3 * SECOND, 4 * SECOND, 201, revision=2)],
            faults=[Fault("a worker is killed", 10 * SECOND, 12 * SECOND)],
            given={
                "all": DECIDED[1],
                "names of all": dict.fromkeys(DECIDED[1], ()),
                "less": DECIDED[2],
            },
        ),
        [
            row(LEASE, "a", 1, "all"),
            row(CATALOG, "b", 1, None),
            row(LEASE, "c", 1, "all"),
            row(LEASE, "d", 1, "all"),
            row(LEASE, "e", 2, "less"),
            row(LEASE, "f", 2, "less"),
            row(LEASE, "of an answer that was lost on its way", 2, "less"),
        ],
        {2: ("policy", "shut", {**FORBIDDING, "review_by": ""})},
    )


def test_a_history_in_which_everything_was_kept_has_no_fault(case: Case) -> None:
    assert case.found() == []


def refused_with(case: Case, **other: object) -> None:
    case.history.asked[5] = replace(case.history.asked[5], **other)  # type: ignore[arg-type]


def late(case: Case) -> None:
    case.history.asked.append(replace(case.history.asked[5], began=18 * SECOND, ended=19 * SECOND))


def other_body(case: Case) -> None:
    """Between others that are right: each answer is judged by what it brought, and not by what its tag is of."""
    case.history.asked[0] = replace(case.history.asked[0], body="less")
    case.history.asked[3] = replace(case.history.asked[3], tag=case.history.asked[0].tag)
    case.record("a", body_sha256="less")


#: What is planted, by what it is called when it is found.
PLANTED: list[tuple[str, str, Callable[[Case], object]]] = [
    ("a lost row", "unrecorded", lambda case: case.rows.pop(0)),
    ("a row that stands twice", "doubled", lambda case: case.rows.append(case.rows[0])),
    ("a request recorded twice", "doubled", lambda case: case.rows.append(replace(case.rows[0], id="x", receipt="x"))),
    ("a receipt given twice", "doubled", lambda case: case.history.asked.append(case.history.asked[0])),
    ("a row about another", "misrecorded", lambda case: case.record("a", subject="user:ben")),
    ("a row of another revision", "misrecorded", lambda case: case.record("a", revision=2)),
    ("a row of another event", "misrecorded", lambda case: case.record("b", event=LEASE)),
    ("a row of another body", "misrecorded", lambda case: case.record("c", body_sha256="less")),
    ("a row of another decision", "misrecorded", lambda case: case.record("b", decided_sha256="0" * 64)),
    ("an answer from before a rule", "stale", lambda case: case.answer("e", began=4 * SECOND + 1, revision=1)),
    ("an entry that is not given", "wrong", lambda case: case.history.given.update(less=DECIDED[1])),
    ("an entry that is kept back", "wrong", lambda case: case.history.given.update(all=DECIDED[2])),
    ("an action that is not given", "wrong", lambda case: case.history.given.update(less={"hr.rates": ("save",)})),
    ("another body under a known tag", "wrong", other_body),
    ("a tag of nothing", "wrong", lambda case: case.answer("c", tag="of nothing")),
    ("a change that does not stand", "forgotten", lambda case: case.lines.clear()),
    (
        "another change in its place",
        "forgotten",
        lambda case: case.lines.update({2: ("policy", "shut", {"cedar": ""})}),
    ),
    ("an end in its place", "forgotten", lambda case: case.lines.update({2: ("policy", "shut", None)})),
    ("a refusal of another kind", "failed", lambda case: refused_with(case, status=500)),
    ("a refusal without words", "failed", lambda case: refused_with(case, problem="")),
    ("a failure without a fault", "not healed", lambda case: case.history.faults.clear()),
    ("a failure long after it", "not healed", late),
    ("nobody answered after it", "not healed", lambda case: case.history.asked.pop()),
]


@pytest.mark.parametrize(("kind", "plant"), [pytest.param(kind, plant, id=name) for name, kind, plant in PLANTED])
def test_what_is_planted_is_found(case: Case, kind: str, plant: Callable[[Case], object]) -> None:
    plant(case)
    assert kind in case.found()


def test_a_history_is_read_as_it_was_told(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "history"
    with Recorder(path) as recorder:
        told: list[Told] = [*case.history.asked, *case.history.changed, *case.history.faults]
        for each in told:
            recorder.tell(each)
        for body, given in case.history.given.items():
            assert not recorder.knows(body)
            recorder.tell(Received(body, given))
            assert recorder.knows(body)
    assert history.read(path) == case.history
