"""What is told of where data comes from and goes."""

from __future__ import annotations

from datetime import timedelta

from muniment.core.lineages import Passage, Side, neighbours_of
from tests.core.oracle import NOON

ANN, SAM = "user:ann", "user:sam"


def passage(
    dataset: str, side: Side, subject: str = ANN, *, runs: int = 1, days: int = 0, node: str = "clean"
) -> Passage:
    return Passage(
        dataset=dataset,
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
    orders, report = neighbours_of(TOLD, SEEN, told_of=None)
    assert (orders.dataset, orders.side, report.dataset) == ("sales.orders", Side.UPSTREAM, "sales.report")
    together, join = orders.passages
    assert (together.node, together.runs, together.last, together.subjects) == ("clean", 7, NOON, {ANN, SAM})
    assert join.node == "join"


def test_whoever_oversees_nothing_is_told_where_of_their_own_runs_alone():
    """Seen to fail with the runs of others counted too."""
    orders, report = neighbours_of(TOLD, SEEN, told_of=ANN)
    (mine,) = orders.passages
    assert (mine.runs, mine.last, mine.subjects) == (2, NOON - timedelta(days=3), {ANN})
    assert report.passages == ()
