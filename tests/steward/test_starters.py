"""``muniment starters check``: a folder is judged before anybody is offered it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from muniment.cli import main

MANIFEST = """
groups: [{id: house, title: Our own}]
packages: [{name: acme, group: house, versions: ">=3,<4", pinned: 3.1.4, always: true}]
without: [polars]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "starters"
    (made / "1" / "base").mkdir(parents=True)
    (made / "1" / "starters.yml").write_text(MANIFEST)
    (made / "1" / "base" / "NOTICE").write_text("ours\n")
    return made


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["starters", "check", *map(str, arguments)])


def test_it_says_what_a_folder_brings_and_takes_away(folder: Path) -> None:
    done = check(folder)
    assert done.exit_code == 0, done.output
    for said in (
        "as version 1+1",
        "packages acme  3.1.4 (>=3,<4), in house, in every project",
        "base/NOTICE",
        "polars",
    ):
        assert said in done.output


def test_it_says_what_changes_and_a_new_version_is_no_fault(folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(folder, new)
    shutil.copytree(new / "1", new / "2")
    (new / "2" / "starters.yml").write_text(MANIFEST.replace("3.1.4", "3.2.0"))
    done = check(new, "--instead-of", folder, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert [(each["sign"], each["list"], each["id"]) for each in told["differences"]] == [("~", "packages", "acme")]
    assert (told["version"], told["versions"], told["rewritten"]) == ("1+2", [1, 2], [])
    assert "offers the same" in check(folder, "--instead-of", folder).output


def test_a_version_that_was_given_out_and_is_not_as_it_was_is_refused(folder: Path, tmp_path: Path) -> None:
    """Seen to pass with versions compared by their numbers alone."""
    new = tmp_path / "new"
    shutil.copytree(folder, new)
    (new / "1" / "base" / "NOTICE").write_text("changed\n")
    done = check(new, "--instead-of", folder)
    assert done.exit_code == 1
    assert "Version 1 is not as it was" in done.output
    assert "~ templates base/NOTICE" in done.output
    shutil.rmtree(new / "1")
    shutil.copytree(folder / "1", new / "2")
    assert "Version 1 is not as it was" in check(new, "--instead-of", folder).output


def test_an_older_version_of_which_no_project_can_be_made_is_refused_as_well(folder: Path) -> None:
    shutil.copytree(folder / "1", folder / "2")
    (folder / "1" / "base" / "NOTICE.j2").write_text("{{ nothing }}")
    done = check(folder)
    assert done.exit_code == 1
    assert "version 1: NOTICE" in done.output
    assert "'nothing' is undefined" in done.output


def test_the_folder_of_the_service_is_checked_if_none_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNIMENT_STARTERS", str(folder))
    assert check().exit_code == 0
    (folder / "1" / "starters.yml").write_text("packges: []")
    done = check()
    assert done.exit_code == 1
    assert "version 1: packges: there is no such key" in done.output
