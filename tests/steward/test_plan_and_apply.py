"""Files in git: what a plan shows, what an apply makes, and what becomes of what hands have changed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muniment.steward import plans
from tests.steward.conftest import Served, written

LEADS = """\
# Who may buy.
sales.leads:
  type: pandas.CSVDataset
  filepath: s3://lake/sales/leads.csv   # as the CRM writes it
  muniment:
    description: Who may buy.
    tags: [core]
    environments:
      prod: {type: pandas.ParquetDataset, filepath: s3://lake/sales/leads.parquet}

# Its sister.
sales.cold_leads:
  type: pandas.CSVDataset
  filepath: s3://lake/sales/cold.csv
"""


def fields_of(served: Served, name: str) -> dict[str, Any]:
    body: dict[str, Any] = served.ask("sam", "GET", f"/v1/datasets/{name}")
    return body


@pytest.fixture(scope="module")
def leads(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of Sam's that was applied."""
    directory = written(tmp_path_factory.mktemp("leads"), datasets__sales_yml=LEADS, source_yml="name: leads\n")
    assert served.muniment("sam", "plan", directory, "--detailed-exitcode").exit_code == 2
    applied = served.muniment("sam", "apply", directory, "--yes", "--reason", "a commit")
    assert applied.exit_code == 0, applied.output
    return directory


def test_what_is_applied_is_there_and_a_second_plan_is_empty(served: Served, leads: Path) -> None:
    made = fields_of(served, "sales.leads")
    assert made["definitions"]["prod"]["type"] == "pandas.ParquetDataset"
    assert (made["tags"], made["owner"]) == (["core"], "group:sales-owners")
    again = served.muniment("sam", "plan", leads, "--detailed-exitcode")
    assert (again.exit_code, again.output) == (0, "No changes.\n")
    assert served.muniment("sam", "apply", leads, "--yes").output == "No changes.\n"


def test_a_plan_shows_things_with_fields_and_people(served: Served, tmp_path: Path) -> None:
    served.ask("ann", "GET", "/v1/whoami")
    policy = 'permit (principal in Group::"analysts", action == Action::"discover", resource);'
    directory = written(
        tmp_path,
        datasets__emea_yml="sales.emea.leads:\n  muniment: {description: In EMEA.}\n",
        policies__emea_readers_yml="emea_readers: {scope: sales.emea, reason: They sell there.}\n",
        policies__emea_readers_cedar=policy,
    )

    shown = served.muniment("sam", "plan", directory, "--source", "people")

    assert shown.exit_code == 0, shown.output
    assert '~ dataset sales.emea.leads   (datasets/emea.yml:1)\n      ~ description: "" -> "In EMEA."' in shown.output
    assert "+ policy emea_readers   (policies/emea_readers.cedar)" in shown.output
    assert "+1 person gains sales.emea.leads (discover, dev, prod): user:ann" in shown.output
    assert shown.output.endswith("1 to make, 1 to change.\n")
    told = json.loads(served.muniment("sam", "plan", directory, "--source", "people", "--json").output)
    assert {(each["id"], each["verdict"]) for each in told["things"]} == {
        ("sales.emea.leads", "update"),
        ("emea_readers", "create"),
    }
    assert told["effects"]["gained"]["subjects"] == 1
    markdown = served.muniment("sam", "plan", directory, "--source", "people", "--markdown").output
    assert markdown.startswith("### Muniment: 1 to make, 1 to change.\n\n```diff\n+1 person gains")


def test_a_change_by_hand_is_shown_and_stays_until_somebody_decides(served: Served, leads: Path) -> None:
    served.by_hand("sam", "datasets/sales.leads", description="By hand.", classification="secret")

    shown = served.muniment("sam", "plan", leads, "--detailed-exitcode")

    assert shown.exit_code == 2
    assert (
        '! description: files say "Who may buy.", by hand it is "By hand." (last changed by user:sam, ' in shown.output
    )
    assert "classification" not in shown.output, "what no file says is the pages'"
    assert served.muniment("sam", "apply", leads, "--yes").exit_code == 0
    assert fields_of(served, "sales.leads")["description"] == "By hand."

    elsewhere = (leads / "datasets" / "sales.yml").read_text().replace("[core]", "[core, crm]")
    (leads / "datasets" / "sales.yml").write_text(elsewhere)
    assert served.muniment("sam", "apply", leads, "--yes").exit_code == 0
    assert fields_of(served, "sales.leads")["tags"] == ["core", "crm"]
    again = served.muniment("sam", "plan", leads).output
    assert "by hand it is" in again, "another change of the files does not settle it"

    assert served.muniment("sam", "apply", leads, "--yes", "--overwrite").exit_code == 0
    found = fields_of(served, "sales.leads")
    assert (found["description"], found["classification"]) == ("Who may buy.", "secret")
    assert served.muniment("sam", "plan", leads).output == "No changes.\n"


def test_what_was_changed_by_hand_can_be_taken_into_the_files(served: Served, leads: Path) -> None:
    file = leads / "datasets" / "sales.yml"
    base = {"type": "pandas.CSVDataset", "filepath": "s3://lake/sales/leads2.csv", "load_args": {"sep": ";"}}
    standing = fields_of(served, "sales.leads")["definitions"]
    served.by_hand("sam", "datasets/sales.leads", environments={**standing, "base": base}, description="Buyers.")

    adopted = served.muniment("sam", "adopt", leads)

    assert f"dataset sales.leads: {file}\nTaken into the files: 1." in adopted.output
    text = file.read_text()
    assert 'description: "Buyers."' in text
    assert "leads2.csv" in text
    assert text.startswith("# Who may buy.\n")
    assert "\n# Its sister.\nsales.cold_leads:\n  type: pandas.CSVDataset\n" in text
    assert served.muniment("sam", "plan", leads, "--detailed-exitcode").exit_code == 0
    assert served.muniment("sam", "apply", leads, "--yes").exit_code == 0


def test_where_files_and_hands_changed_the_same_nothing_is_applied(served: Served, tmp_path: Path) -> None:
    def said(description: str) -> Path:
        text = f"sales.both: {{muniment: {{description: {description}}}}}\n"
        return written(tmp_path, datasets__both_yml=text, source_yml="name: both")

    assert served.muniment("sam", "apply", said("One"), "--yes").exit_code == 0
    served.by_hand("sam", "datasets/sales.both", description="By hand")

    refused = served.muniment("sam", "apply", said("Two"), "--yes")

    assert refused.exit_code == 1
    assert 'files say "Two", by hand it is "By hand"' in refused.output
    assert "decide" in refused.output
    assert fields_of(served, "sales.both")["description"] == "By hand"
    assert served.muniment("sam", "apply", said("Two"), "--yes", "--overwrite").exit_code == 0
    assert fields_of(served, "sales.both")["description"] == "Two"


def test_a_field_that_leaves_the_files_goes_back_and_a_thing_that_leaves_them_stays_until_it_is_pruned(
    served: Served, tmp_path: Path
) -> None:
    def said(text: str) -> Path:
        return written(tmp_path, datasets__gone_yml=text, source_yml="name: gone")

    prod = "environments: {prod: {type: pandas.CSVDataset, filepath: s3://lake/sales/gone.csv}}"
    whole = f"sales.gone: {{muniment: {{description: One, {prod}}}}}\nsales.stays: {{}}\n"
    assert served.muniment("sam", "apply", said(whole), "--yes").exit_code == 0

    fewer = "sales.gone: {muniment: {description: One}}\nsales.stays: {}\n"
    assert "- environments.prod: " in served.muniment("sam", "plan", said(fewer)).output
    assert served.muniment("sam", "apply", said(fewer), "--yes").exit_code == 0
    assert fields_of(served, "sales.gone")["environments"] == []

    left = served.muniment("sam", "plan", said("sales.stays: {}\n"), "--detailed-exitcode")
    assert (left.exit_code, "? left the files, and stays: --prune" in left.output) == (0, True)
    assert served.muniment("sam", "apply", said("sales.stays: {}\n"), "--yes").exit_code == 0
    assert fields_of(served, "sales.gone")["lifecycle"] == "active"

    pruned = served.muniment("sam", "apply", said("sales.stays: {}\n"), "--yes", "--prune")
    assert "- dataset sales.gone\n      - is retired: no catalog holds it" in pruned.output
    assert fields_of(served, "sales.gone")["lifecycle"] == "retired"
    assert served.muniment("sam", "plan", said("sales.stays: {}\n"), "--prune").output == "No changes.\n"


def test_a_rule_that_was_ended_by_hand_is_shown_and_not_made_again_unless_it_is_said(
    served: Served, tmp_path: Path
) -> None:
    text = "for-all: {to: group:analysts, actions: [discover], on: {dataset: sales.targets}, because: They plan.}\n"
    directory = written(tmp_path, grants_yml=text, source_yml="name: ended")
    assert served.muniment("sam", "apply", directory, "--yes").exit_code == 0
    served.ask("sam", "DELETE", "/v1/grants/for-all", after=1)

    shown = served.muniment("sam", "apply", directory, "--yes")
    assert "! was ended by hand (user:sam, " in shown.output
    assert "for-all" not in [each["id"] for each in served.pieces("sam", "grant")]

    assert served.muniment("sam", "apply", directory, "--yes", "--overwrite").exit_code == 0
    assert "for-all" in [each["id"] for each in served.pieces("sam", "grant")]
    served.ask("sam", "DELETE", "/v1/grants/for-all", after=3)
    assert served.muniment("sam", "adopt", directory).exit_code == 0
    assert (directory / "grants.yml").read_text() == ""
    assert served.muniment("sam", "plan", directory).output == "No changes.\n"


def test_what_another_source_keeps_is_not_taken_by_accident(served: Served, leads: Path, tmp_path: Path) -> None:
    text = "sales.leads: {muniment: {description: Mine}}\n"
    directory = written(tmp_path, datasets__sales_yml=text, source_yml="name: others")
    refused = served.muniment("sam", "apply", directory, "--yes")
    assert refused.exit_code == 1
    assert "is kept in leads" in refused.output


def test_a_refusal_names_the_file_and_the_line(served: Served, tmp_path: Path) -> None:
    text = "hr.salaries:\n  muniment: {description: Mine now.}\n"
    directory = written(tmp_path, datasets__hr_yml=f"# Not Sam's.\n{text}")
    refused = served.muniment("sam", "plan", directory)
    assert refused.exit_code == 1
    assert refused.output.startswith("muniment: Not found: dataset hr.salaries")
    assert "in datasets/hr.yml:2" in refused.output


def test_a_form_is_one_with_the_cedar_that_it_makes(served: Served, tmp_path: Path) -> None:
    form = "sellers: {scope: sales, form: {principals: {groups: [analysts]}, actions: [discover]}}\n"
    directory = written(tmp_path, policies_yml=form)
    assert served.muniment("sam", "apply", directory, "--yes").exit_code == 0
    assert served.muniment("sam", "plan", directory).output == "No changes.\n"


def test_who_exports_and_plans_sees_no_changes(served: Served, tmp_path: Path) -> None:
    for person in ("root", "sam"):
        directory = tmp_path / person
        exported = served.muniment(person, "export", directory)
        assert exported.exit_code == 0, exported.output
        shown = served.muniment(person, "plan", directory, "--take-over", "--detailed-exitcode")
        assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "No changes."), shown.output
        assert served.muniment(person, "export", directory).exit_code == 1, "what is there is not overwritten"


def test_without_a_yes_nothing_is_applied(served: Served, tmp_path: Path) -> None:
    directory = written(tmp_path, datasets__yes_yml="sales.asked: {muniment: {description: One}}\n")
    refused = served.muniment("sam", "apply", directory)
    assert (refused.exit_code, "say --yes" in refused.output) == (1, True)
    assert "sales.asked" not in [each["id"] for each in served.pieces("sam", "dataset")]


def test_a_mistyped_plan_does_not_say_that_there_are_changes(served: Served, tmp_path: Path) -> None:
    mistyped = served.muniment("sam", "plan", tmp_path, "--detailed-exit")
    assert (mistyped.exit_code, "No such option" in mistyped.output) == (1, True)
    assert served.muniment("sam", "apply", tmp_path, "--in-part").exit_code == 2
    assert served.muniment("sam", "plan", tmp_path, "--prune", "--let-go").exit_code == 1


def test_what_somebody_changes_between_plan_and_apply_is_noticed(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = written(tmp_path, datasets__late_yml="sales.late: {muniment: {description: One}}\n")
    foresee = plans.foresee

    def and_somebody_comes_between(*given: Any, **more: Any) -> plans.Foreseen:
        foreseen = foresee(*given, **more)
        served.by_hand("sam", "datasets/sales.targets", description="In between.")
        return foreseen

    monkeypatch.setattr(plans, "foresee", and_somebody_comes_between)
    stale = served.muniment("sam", "apply", directory, "--yes")
    assert stale.exit_code == 1
    assert "Nothing was changed: plan again." in stale.output
    assert "sales.late" not in [each["id"] for each in served.pieces("sam", "dataset")]
