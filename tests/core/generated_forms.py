"""Forms as Hypothesis makes them: every field, in every combination that can be said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import strategies as st

from muniment.core.forms import Comparison, Demand, Form
from muniment.core.masks import Mask, MaskAction, write_mask
from muniment.core.policies import PolicyKind
from muniment.core.row_filters import Predicate, read_row_filter, write_row_filter
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action

GROUPS = ["analysts", "interns", "corp|team", "people & culture", 'q"uote', "or", "tagged"]
TAGS = ["pii", "public", "eu", "a b", "and", "x*y"]
_SET = {
    "tags_all": TAGS,
    "tags_any": TAGS,
    "tags_none": TAGS,
    "classifications": ["internal", "public", "secret"],
    "layers": ["bronze", "silver"],
    "lifecycles": ["active", "deprecated"],
}
_CONTEXT = {"environments": ["dev", "prod"], "purposes": ["audit", "churn"], "projects": ["forecast", "churn"]}
_MOMENTS = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def demands() -> st.SearchStrategy[tuple[Demand, ...]]:
    """Demands on the attributes of the oracle's schema, each asked once."""
    numbers = st.integers(-5, 100)
    texts = st.frozensets(st.sampled_from(["sql", "python", "r"]), min_size=1)
    each = st.one_of(
        st.builds(Demand, st.just("clearance"), st.sampled_from([Comparison.AT_LEAST, Comparison.AT_MOST]), numbers),
        st.builds(Demand, st.just("team"), st.just(Comparison.ONE_OF), texts),
        st.builds(Demand, st.just("skills"), st.sampled_from([Comparison.ANY_OF, Comparison.ALL_OF]), texts),
        st.builds(Demand, st.just("vip"), st.just(Comparison.IS), st.booleans()),
    )
    return st.lists(each, max_size=3, unique_by=lambda demand: (demand.attribute, demand.comparison)).map(tuple)


def _some(texts: list[str], smallest: int = 0) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(texts), min_size=smallest, max_size=3, unique=True).map(tuple)


@st.composite
def forms(draw: st.DrawFn) -> Form:
    """A form about data, or one about governing."""
    principals = [*GROUPS, "user:ann", "service:nightly", "user:bob"]
    given: dict[str, object] = {
        "principals": draw(_some(principals)),
        "except_groups": draw(_some(principals)),
        "domains": draw(_some(["sales", "hr", "sales.emea"])),
        "owners": draw(_some(["team", "user:ann"])),
        "attributes": draw(demands()),
        "except_attributes": draw(demands()),
        "valid_from": draw(_MOMENTS),
        "valid_to": draw(_MOMENTS),
    }
    if draw(st.integers(0, 4)) == 0:
        actions = draw(st.frozensets(st.sampled_from(GOVERNING_ACTIONS), min_size=1))
        return Form(actions, draw(st.sampled_from(["permit", "forbid"])), **given)
    given |= {field: draw(st.frozensets(st.sampled_from(texts), max_size=3)) for field, texts in _SET.items()}
    given |= {field: draw(st.frozensets(st.sampled_from(texts))) for field, texts in _CONTEXT.items()}
    given |= {f"sensitivity_{at}": draw(st.none() | st.integers(0, 100)) for at in ("at_least", "at_most")}
    given["names"] = draw(_some(["sales.orders", "hr.people", "hr.*", "*_rows", "**x", "sales.{r}_rows"]))
    kind = draw(st.sampled_from(PolicyKind))
    if kind is not PolicyKind.ACCESS:
        return Form(frozenset({Action.LOAD}), kind=kind, **given)
    actions = draw(st.frozensets(st.sampled_from(DATA_ACTIONS), min_size=1))
    return Form(actions, draw(st.sampled_from(["permit", "forbid"])), **given)


#: Names of columns and of their tags, those among them that could be taken for words of a sentence.
_COLUMNS = ["email", "phone", "masked", "the state", "and", "true", "date", "nothing", "7", 'q"uote', "a.b"]


def masks() -> st.SearchStrategy[Mapping[str, object]]:
    """Masks of every action, on columns, on tags of columns, or on both."""
    named = st.lists(st.sampled_from(_COLUMNS), max_size=3, unique=True).map(lambda names: tuple(sorted(names)))
    made = st.builds(Mask, st.sampled_from(MaskAction), named, named)
    return made.filter(lambda mask: bool(mask.columns or mask.column_tags)).map(write_mask)


def row_filters() -> st.SearchStrategy[Mapping[str, object]]:
    """Row filters of every operator, nested."""
    texts = st.sampled_from(["EU", "it's", "''", 'a "b"', "\\", "or 'x'", "", "new\nline"])
    numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    bare = texts | numbers | st.booleans()
    typed = st.fixed_dictionaries(
        {"type": st.just("literal"), "value": bare, "data-type": st.sampled_from(["date", "decimal(9,2)", "fixed[16]"])}
    )
    values = st.lists(bare | typed, min_size=1, max_size=3)
    one_type = st.fixed_dictionaries(
        {
            "type": st.just("literals"),
            "values": st.lists(bare, min_size=1, max_size=3),
            "data-type": st.sampled_from(["date", "timestamptz_ns"]),
        }
    )
    column = st.sampled_from(_COLUMNS)
    compared = st.sampled_from(["eq", "not-eq", "lt", "lt-eq", "gt", "gt-eq"])
    leaves = st.one_of(
        st.fixed_dictionaries({"type": compared, "term": column, "value": bare | typed}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["starts-with", "not-starts-with"]), "term": column, "value": texts}
        ),
        st.fixed_dictionaries({"type": st.sampled_from(["in", "not-in"]), "term": column, "values": values | one_type}),
        st.fixed_dictionaries({"type": st.sampled_from(["is-null", "not-null", "is-nan", "not-nan"]), "term": column}),
        st.booleans(),
    )
    nested = st.recursive(
        leaves,
        lambda inner: (
            st.fixed_dictionaries({"type": st.sampled_from(["and", "or"]), "left": inner, "right": inner})
            | st.fixed_dictionaries({"type": st.just("not"), "child": inner})
        ),
        max_leaves=5,
    )
    return nested.map(_kept)


def _kept(predicate: Predicate) -> Mapping[str, object]:
    return write_row_filter(read_row_filter(predicate))
