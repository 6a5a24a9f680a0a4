"""The drawing of a lineage: each dataset once on a side, as many columns away as it is steps."""

from __future__ import annotations

from muniment.core.lineages import Neighbour, Side
from muniment.web.lineages import Box, Drawing, drawn, sided


def up(dataset: str, beside: str, steps: int = 1) -> Neighbour:
    return Neighbour(dataset, beside, Side.UPSTREAM, steps, ())


def down(dataset: str, beside: str, steps: int = 1) -> Neighbour:
    return Neighbour(dataset, beside, Side.DOWNSTREAM, steps, ())


def placed(drawing: Drawing) -> dict[str, Box]:
    return {box.name: box for box in drawing.boxes if box.name}


def test_a_dataset_stands_as_many_columns_away_as_it_is_steps():
    drawing = drawn("a.it", [up("a.near", "a.it"), up("a.far", "a.near", 2), down("b.after", "a.it")])
    boxes = placed(drawing)
    far, near, here, after = (boxes[name].x for name in ("a.far", "a.near", "a.it", "b.after"))
    assert far == 0 < near < here < after
    assert near - far == here - near == after - here
    assert boxes["a.it"].here
    assert (boxes["b.after"].leaf, boxes["b.after"].domain) == ("after", "b")
    assert drawing.width == after + boxes["b.after"].width
    assert len(drawing.ways) == 3


def test_what_is_on_both_sides_stands_on_both_and_a_way_back_is_not_drawn():
    """A circle ends: seen to fail with a way drawn from each box to each."""
    drawing = drawn("a.it", [up("a.loop", "a.it"), down("a.loop", "a.it"), down("a.it", "a.loop", 2)])
    names = [box.name for box in drawing.boxes]
    assert sorted(names) == ["a.it", "a.loop", "a.loop"]
    assert len(drawing.ways) == 2
    assert (
        drawn("a.it", [up("a.one", "a.it"), up("a.one", "a.one", 2)]).ways == drawn("a.it", [up("a.one", "a.it")]).ways
    )


def test_those_for_which_there_is_no_room_are_counted():
    drawing = drawn("a.it", [down(f"a.n{n}", "a.it") for n in range(12)])
    assert [box.further for box in drawing.boxes if not box.name] == [5]
    assert len([box for box in drawing.boxes if box.name]) == 8
    assert len(drawing.ways) == 8
    assert len({(box.x, box.y) for box in drawing.boxes}) == len(drawing.boxes)


def test_what_leads_to_the_same_stands_beside_each_other():
    first = [down("a.one", "a.it"), down("a.two", "a.it")]
    second = [down("b.x", "a.two", 2), down("b.y", "a.one", 2), down("b.z", "a.one", 2)]
    boxes = placed(drawn("a.it", [*first, *second]))
    assert sorted(("b.x", "b.y", "b.z"), key=lambda name: boxes[name].y) == ["b.y", "b.z", "b.x"]


def test_each_dataset_counts_once():
    found = sided(
        [down("a.one", "a.it"), down("a.two", "a.one", 2), down("a.two", "a.it"), up("a.x", "a.it")], Side.DOWNSTREAM
    )
    assert (found.datasets, len(found.beside), len(found.further)) == (2, 2, 1)
