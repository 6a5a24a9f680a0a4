"""Every pair of choices of what a project can be made of, in few projects.

Most faults of combinations are of two choices; that every pair of values is in some project takes a dozen of them
instead of some thousands. The rows are the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

from muniment.core.starters.answers import Answers, Wish, answered
from muniment.core.starters.offers import Offer
from muniment.core.starters.rendering import Drawn, File, rendered

URL = "https://muniment.example.org"

#: What a project may begin with: nothing, or one dataset of each way in which it is or is not looked at.
DATASETS = {
    "none": (),
    "some": (
        Drawn("sales.orders", ("load",), ("pandas-csvdataset",)),
        Drawn("hr.orders", ("load", "save"), ("json-jsondataset",)),
        Drawn("sales.on", ("load",), ("pandas-csvdataset",)),
        Drawn("sales.targets", ("save",), (), "no: it is saved, not loaded"),
    ),
}

Row = dict[str, str]


def pairwise(values: Mapping[str, Sequence[str]]) -> list[Row]:
    """Rows in which every pair of values of two names occurs; each takes as many new pairs as it can."""
    left = {
        ((one, here), (other, there)): None
        for one, other in combinations(values, 2)
        for here, there in product(values[one], values[other])
    }
    rows = []
    while left:
        row = dict(next(iter(left)))
        for name in values:
            if name not in row:
                row[name] = max(
                    values[name], key=lambda value: sum(pair in left for pair in _pairs({**row, name: value}))
                )
        rows.append({name: row[name] for name in values})
        for pair in _pairs(rows[-1]):
            left.pop(pair, None)
    return rows


def _pairs(row: Row) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for one, other in combinations(row.items(), 2):
        yield one, other
        yield other, one


def choices(offer: Offer) -> dict[str, Sequence[str]]:
    """What there is to choose, each with its values: a group of which one is taken, and every other thing by itself."""
    exclusive = {group.id for group in offer.groups if group.exclusive}
    found: dict[str, Sequence[str]] = {
        "starter": [each.id for each in offer.starters],
        "kedro": offer.kedro,
        "python": offer.python,
        "ci": [each.id for each in offer.ci],
        "datasets": list(DATASETS),
    }
    found |= {f"tool {each.id}": ("yes", "no") for each in offer.tools}
    found |= {f"package {each.name}": ("yes", "no") for each in offer.packages if each.group not in exclusive}
    for group in exclusive:
        found[f"group {group}"] = ["none", *(each.name for each in offer.packages if each.group == group)]
    return found


def named(row: Row) -> str:
    """A row in a few words, for whoever reads which one failed."""
    said = [value for key, value in row.items() if " " not in key] + [
        key.partition(" ")[2] if value == "yes" else value
        for key, value in row.items()
        if " " in key and value not in {"no", "none"}
    ]
    return "-".join(said)


def project(offer: Offer, row: Row) -> tuple[Answers, tuple[File, ...]]:
    """The project of a row."""
    drawn = DATASETS[row["datasets"]]
    wish = Wish(
        name=f"Trial {named(row)[:40].replace('.', '_')}",
        description='It\'s "all" of it: #1 & more',
        package="trial",
        starter=row["starter"],
        kedro=row["kedro"],
        python=row["python"],
        ci=row["ci"],
        tools=_chosen(row, "tool"),
        packages=[
            *_chosen(row, "package"),
            *(row[key] for key in row if key.startswith("group ") if row[key] != "none"),
        ],
        datasets=[each.name for each in drawn],
    )
    answers = answered(offer, wish, ["dev", "prod"], ())
    return answers, rendered(offer, answers, drawn, URL)


def _chosen(row: Row, kind: str) -> list[str]:
    return [key.partition(" ")[2] for key, value in row.items() if key.startswith(f"{kind} ") and value == "yes"]
