"""What the pages, the dashboard and the alerts say of metrics is what the service tells.

Seen to fail with a metric misspelt in an alert, with one that the page lacked, and with a label that it has not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from muniment.api.metrics import METRICS, Kind
from muniment.core.tracing import Step

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((DOCS / "reference" / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((DOCS / "reference" / "prometheus-alerts.yml").read_text(encoding="utf-8"))

#: Functions and words of PromQL that the expressions use; whatever else is a word is a metric or a label.
PROMQL = {
    "absent", "and", "avg_over_time", "bool", "by", "changes", "d", "h", "histogram_quantile", "increase", "m", "max",
    "or", "rate", "sum", "topk", "__rate_interval",
}  # fmt: skip


def told() -> dict[str, list[str]]:
    """The rows of the page's table, by the metric that each is of."""
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| `muniment_"))
    cells = ([cell.strip() for cell in row] for row in rows)
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_tells_every_metric_with_its_kind_and_labels_and_no_other() -> None:
    kinds = {Kind.KNOWN_BY_ALL: "gauge"}
    expected = {each.name: [kinds.get(each.kind, each.kind.value), *each.labels] for each in METRICS.values()}
    assert {name: [row[0], *re.findall(r"`(\w+)`", row[1])] for name, row in told().items()} == expected


def test_the_page_tells_every_span() -> None:
    spans = PAGE.partition("## Spans")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", spans, re.MULTILINE)) == {step.value for step in Step}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    objectives = (DOCS / "explanation" / "objectives.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"^```text\n(.*?)^```$", objectives, re.MULTILINE | re.DOTALL), start=1):
        yield f"objective {number}", block


EXPRESSIONS = dict(expressions())


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_asks_for_what_is_told(where: str) -> None:
    expression = EXPRESSIONS[where]
    found = re.findall(r"(muniment_\w+)(?:\{([^}]*)\})?", expression)
    assert found
    labels = set()
    for name, matchers in found:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        metric = METRICS.get(name) or METRICS[base]
        assert (metric.kind is Kind.HISTOGRAM) is (metric.name != name), f"{name} is not told"
        labels |= {*metric.labels, *(["le"] if name.endswith("_bucket") else [])}
        for label, value in re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"([^\"]*)\"", matchers):
            assert label in {*metric.labels, "le"}, f"{name} has no label {label}"
            if label == "le":
                assert float(value) in metric.bounds
    for grouped in re.findall(r"\bby\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= labels
    words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"\"[^\"]*\"|\d+(\.\d+)?[smhdw]?", " ", expression)))
    assert {word for word in words if not word.startswith("muniment_")} <= PROMQL | labels
    assert expression.count("(") == expression.count(")")


def test_every_alert_is_explained_and_no_other() -> None:
    page = (DOCS / "how-to" / "watch-the-service.md").read_text(encoding="utf-8")
    table = page.partition("## What an alert asks of you")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    explained = [name for row in rows for name in re.findall(r"`(Muniment\w+)`", row)]
    assert sorted(explained) == sorted(rule["alert"] for group in ALERTS["groups"] for rule in group["rules"])


def test_every_panel_shows_something_and_stands_beside_the_others() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    covered: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        place = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not place & covered, panel["title"]
        covered |= place
        assert panel["type"] == "row" or panel["targets"]
