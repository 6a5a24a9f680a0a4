"""Plans as people read them, and the parts in which they are applied; what is adopted and what stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muniment.core.comparing import ABSENT, Compared, Difference, Live, Side, Verdict, compare
from muniment.core.files import Written
from muniment.core.projects.written import Naming
from muniment.steward import directories, exporting
from muniment.steward.plans import MOST_BYTES, MOST_CHANGES, parts_of, placed, told_people, told_things
from muniment.steward.refusals import Refused
from tests.steward.conftest import written


def effects(*items: dict[str, Any], more: bool = False, count: int | None = None) -> dict[str, Any]:
    subjects = len({each["subject"] for each in items})
    return {"count": count or len(items), "subjects": subjects, "items": [*items], "more": more}


def effect(subject: str, action: str, environment: str = "prod", **more: Any) -> dict[str, Any]:
    known = {"dataset": "orders.email", "environment": environment, "purpose": None, "project": None}
    return {"subject": subject, "action": action, **known, **more}


def answer(**sides: Any) -> dict[str, Any]:
    nothing = {side: effects() for side in ("gained", "lost", "masked", "unmasked")}
    governing = {"gained": {"items": []}, "lost": {"items": []}}
    return {**nothing, "governing": governing, "runs": {"items": []}, **sides}


def told(**sides: Any) -> list[str]:
    return list(told_people(answer(**sides)))


def test_a_new_thing_is_shown_without_what_it_does_not_say() -> None:
    body = {"description": "", "members": ["user:sam"], "tags": [], "until": None, "active": False}
    fields = tuple(Difference(name, ABSENT, wanted, Side.FILES) for name, wanted in body.items())
    told = list(told_things([Compared("group", "stewards", Verdict.CREATE, fields)]))
    assert told == ["+ group stewards", '    + members: ["user:sam"]', "    + active: false"]


def test_people_who_gain_alike_are_told_together() -> None:
    people = ("user:ann", "user:bob", "user:cleo")
    gained = [effect(each, action) for each in people for action in ("discover", "load")]
    assert told(gained=effects(*gained)) == ["+3 people gain orders.email (load, prod): user:ann, user:bob, user:cleo"]


def test_many_are_counted_and_not_named_and_jobs_are_no_people() -> None:
    who = [*(f"user:{number}" for number in range(4)), "service:nightly"]
    lost = [effect(each, "load", environment) for each in who for environment in ("dev", "prod")]
    assert told(lost=effects(*lost)) == ["-4 people and 1 job lose orders.email (load, dev, prod)"]


def test_what_holds_for_one_purpose_alone_is_told_so() -> None:
    gained = [effect("user:ann", "load", purpose="churn"), effect("user:ann", "save")]
    assert told(gained=effects(*gained, more=True, count=7)) == [
        "+1 person gains orders.email (load, prod, for churn): user:ann",
        "+1 person gains orders.email (save, prod): user:ann",
        "+and 5 more, of 1 in all",
    ]


def test_rights_to_govern_and_runs_that_would_have_failed_are_told() -> None:
    rights = {"gained": {"items": [{"subject": "user:sam", "action": "grant", "on": {"domain": "hr"}}]}}
    run = {
        "subject": "user:ann", "environment": "prod", "project": "churn", "purpose": None, "action": "load",
        "dataset": "orders.email", "at": "2026-03-01T02:00:00Z", "times": 3,
    }  # fmt: skip
    assert told(governing={**rights, "lost": {"items": []}}, runs={"items": [run]}) == [
        "+user:sam governs hr (grant)",
        "! a run of churn as user:ann would have failed: load orders.email in prod (3 times, last 2026-03-01 02:00)",
    ]


def many(count: int, description: str) -> list[Written]:
    fields = {"description": description}
    return [Written("dataset", f"sales.d{number}", fields, "a.yml", number) for number in range(count)]


def test_what_is_too_much_for_one_revision_comes_in_parts() -> None:
    things = many(MOST_CHANGES + 1, "short")
    parts = parts_of(compare({each.address: each for each in things}, {}, "files"))
    assert [len(part.changes) for part in parts] == [MOST_CHANGES, 1]
    assert all(len(part.places) == len(part.changes) for part in parts)

    things = many(3, "x" * (MOST_BYTES // 2))
    parts = parts_of(compare({each.address: each for each in things}, {}, "files"))
    assert [len(part.changes) for part in parts] == [1, 1, 1]


def test_a_refusal_is_told_with_the_places_that_it_names() -> None:
    refused = Refused("Invalid: changes.1 (put dataset x): no", 422, {"change": 1})
    assert placed(refused, ("a.yml:1", "b.yml:7")).message == "Invalid: dataset x: no\n  in b.yml:7"
    fields = Refused("Invalid: no\n  changes.0.locations: none\n  changes.9.owner: none")
    told = "Invalid: no\n  a.yml:1, locations: none\n  changes.9.owner: none\n  in a.yml:1"
    assert placed(fields, ("a.yml:1",)).message == told
    assert placed(Refused("Not allowed: no"), ("a.yml:1",)).message == "Not allowed: no"


def test_an_entry_that_serves_others_is_left_to_people(tmp_path: Path) -> None:
    text = "sales.a: &a\n  type: x\nsales.b:\n  <<: *a\n"
    directory = written(tmp_path, datasets__a_yml=text)
    things = directories.read(directory).things
    with pytest.raises(Refused, match="Change it by hand"):
        directories.adopt(directory, things["dataset", "sales.a"], {"environments.base": {"type": "z"}})
    assert (directory / "datasets" / "a.yml").read_text() == text
    assert list((directory / "datasets").iterdir()) == [directory / "datasets" / "a.yml"]


def test_a_policy_is_adopted_where_it_stands(tmp_path: Path) -> None:
    cedar = "permit (principal, action, resource);\n"
    directory = written(
        tmp_path, policies__p_cedar=cedar, policies__all_yml="# Why.\np: {reason: Old}\nq: {cedar: x}\n"
    )
    policy = directories.read(directory).things["policy", "p"]
    new = {**policy.fields, "cedar": cedar.replace("permit", "forbid"), "reason": "New"}

    assert directories.adopt(directory, policy, new) == ("policies/p.cedar", "policies/all.yml")
    assert (directory / "policies" / "p.cedar").read_text().startswith("forbid")
    assert (directory / "policies" / "all.yml").read_text() == "# Why.\np:\n  reason: New\nq: {cedar: x}\n"

    directories.adopt(directory, directories.read(directory).things["policy", "p"], None)
    assert {each.key for each in directories.read(directory).things.values()} == {"q"}
    assert not (directory / "policies" / "p.cedar").exists()


@pytest.mark.parametrize(
    "path", ["../x.yml", "a/../../x.yml", "/x.yml", "a\\..\\x.yml", "a\x00.yml", "\x1b[2J.yml"], ids=ascii
)
def test_no_name_that_a_service_gives_is_written_outside_of_the_directory(tmp_path: Path, path: str) -> None:
    with pytest.raises(Refused, match="leads out of") as refused:
        directories.write(tmp_path / "here", {"about.yml": "name: x\n", path: "x"})
    assert refused.value.message.isprintable()
    assert [*tmp_path.rglob("*")] == []


def test_no_environment_that_a_service_gives_is_a_place_outside_of_the_conf(tmp_path: Path) -> None:
    body = {"lifecycle": "active", "environments": {"../../base": {"type": "x", "filepath": "s3://lake/x"}}}
    governed = exporting.Governed({("dataset", "sales.x"): live("dataset", "sales.x", body)}, ["sales"])
    with pytest.raises(Refused, match="leads out of"):
        [*exporting.export(governed, Naming(), tmp_path / "a" / "conf", None)]
    assert [*tmp_path.rglob("*")] == []


def test_a_plan_writes_nothing_to_a_terminal_but_what_can_be_read() -> None:
    thing = Written("group", "a\x1b[2J", {"members\x1b[2J": ["b"]}, "groups\x1b[2J.yml")
    lines = [*told_things(compare({thing.address: thing}, {}, "here"))]
    assert len(lines) > 1
    assert all(line.isprintable() for line in lines)


def live(kind: str, key: str, body: dict[str, Any]) -> Live:
    return Live(kind, key, 1, body, "2027-01-01T00:00:00Z", "user:sam")
