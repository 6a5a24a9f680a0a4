"""What is told of where data comes from and goes."""

from __future__ import annotations

from datetime import timedelta

from muniment.core.lineages import MOST_FOLLOWED, Neighbour, Passage, Side, follow, neighbours_of
from tests.core.oracle import NOON

ANN, SAM = "user:ann", "user:sam"


def passage(
    dataset: str, side: Side, subject: str = ANN, *, runs: int = 1, days: int = 0, node: str = "clean"
) -> Passage:
    return Passage(
        dataset=dataset,
        beside="sales.targets",
        side=side,
        project="revenue",
        node=node,
        environment="prod",
        subjects=frozenset({subject}),
        runs=runs,
        last=NOON - timedelta(days=days),
    )


TOLD = (
    passage("sales.orders", Side.UPSTREAM, runs=2, days=3),
    passage("sales.orders", Side.UPSTREAM, SAM, runs=5),
    passage("sales.orders", Side.UPSTREAM, SAM, node="join", days=9),
    passage("hr.salaries", Side.UPSTREAM),
    passage("sales.report", Side.DOWNSTREAM, SAM),
)
SEEN = {"sales.orders", "sales.report"}


def test_runs_of_one_node_are_told_together_and_what_is_hidden_is_no_neighbour():
    orders, report = neighbours_of(TOLD, SEEN, lambda _: None)
    assert (orders.dataset, orders.side, report.dataset) == ("sales.orders", Side.UPSTREAM, "sales.report")
    together, join = orders.passages
    assert (together.node, together.runs, together.last, together.subjects) == ("clean", 7, NOON, {ANN, SAM})
    assert join.node == "join"


def test_whoever_oversees_nothing_is_told_where_of_their_own_runs_alone():
    """Seen to fail with the runs of others counted too."""
    orders, report = neighbours_of(TOLD, SEEN, lambda _: ANN)
    (mine,) = orders.passages
    assert (mine.runs, mine.last, mine.subjects) == (2, NOON - timedelta(days=3), {ANN})
    assert report.passages == ()


def beside(dataset: str, near: str, steps: int, side: Side = Side.UPSTREAM) -> Neighbour:
    return Neighbour(dataset, near, side, steps, ())


def test_a_step_goes_on_from_what_is_new_and_a_circle_ends_where_it_began():
    """Seen to fail with what is known followed again."""
    known = {side: {"a.it"} for side in Side}
    first = follow([beside("a.one", "a.it", 1), beside("a.it", "a.it", 1)], known, further=True)
    assert first.following == {Side.UPSTREAM: ("a.one",), Side.DOWNSTREAM: ()}
    second = follow([beside("a.it", "a.one", 2), beside("a.one", "a.one", 2)], known, further=True)
    assert not any(second.following.values())
    assert [each.dataset for each in second.neighbours] == ["a.it", "a.one"]
    assert not second.cut


def test_more_than_are_followed_is_said():
    many = [beside(f"a.n{n:03}", "a.it", 1) for n in range(MOST_FOLLOWED + 1)]
    found = follow(many, {side: {"a.it"} for side in Side}, further=True)
    assert (len(found.following[Side.UPSTREAM]), len(found.neighbours), found.cut) == (60, 61, True)
    last = follow(many, {side: {"a.it"} for side in Side}, further=False)
    assert (last.following[Side.UPSTREAM], last.cut) == ((), False)
