"""``kedro muniment new`` and ``update``: what the service sends is looked at, and nobody's work is lost."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kedro_muniment.command_line.commands import muniment
from kedro_muniment.problems import BadConfig, Denied, ServiceRefused
from kedro_muniment.starters.archives import Project
from kedro_muniment.starters.updating import RECORD, Kind, changes, patch
from tests.client.conftest import token_of

DOCKERFILE = "FROM python:3.12-slim\n\nRUN pip install\n\nCMD kedro run\n"
CONF = 'url: "{url}"\n'


def archive(files: Mapping[str, str], folder: str = "report") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for path, text in files.items():
            made.writestr(f"{folder}/{path}" if folder else path, text)
    return held.getvalue()


def record(version: str) -> str:
    return json.dumps({"version": version, "answers": {"name": "Report", "tools": ["lint", "test"], "packages": []}})


@pytest.fixture
def run(service, tmp_path, monkeypatch):
    """Runs a command of the client in a folder of its own, as Ann."""
    monkeypatch.setenv("MUNIMENT_TOKEN", token_of("ann"))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: str) -> Result:
        return CliRunner().invoke(muniment, arguments)

    return ran


@pytest.fixture
def begun(service, tmp_path, monkeypatch) -> Path:
    """A project of templates 1, committed, at a service that has templates 2: two files changed, one new, one gone."""
    own = {
        "pyproject.toml": '[tool.kedro]\npackage_name = "report"\nproject_name = "R"\nkedro_init_version = "1.7.0"\n',
        "src/report/__init__.py": "",
        "src/report/settings.py": "",
        ".gitignore": "__pycache__/\n",
        "conf/local/.gitkeep": "\n",
        "conf/base/muniment.yml": CONF.format(url=service.url),
    }
    first = {**own, RECORD: record("1"), "Dockerfile": DOCKERFILE, "ci.yml": "steps: [lint]\n", "old.txt": "old\n"}
    then = {**own, RECORD: record("2"), "ci.yml": "steps: [lint, test]\n", "new.txt": "new\n"}
    service.projects = {"1": archive(first), "2": archive({**then, "Dockerfile": DOCKERFILE.replace("3.12", "3.13")})}
    folder = Project.read(service.projects["1"]).write(tmp_path)
    git(folder, "init", "--quiet")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "So far")


# --- new -------------------------------------------------------------------------------------------------------------


def test_a_project_is_written_where_one_stands_with_the_answers_that_were_given(run, service, tmp_path):
    service.projects = {"1": archive({"README.md": "# Report\n", "src/report/__init__.py": ""})}
    done = run("new", "Report", "--url", service.url, "--tools", "", "--datasets", "sales.orders", "--json")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report" / "README.md").read_text() == "# Report\n"
    assert json.loads(done.output.splitlines()[-1])["files"] == ["README.md", "src/report/__init__.py"]
    (asked,) = [each for each in service.asked if each.path == "/v1/projects/new.zip"]
    # An empty value is sent, and not kept here.
    assert asked.query == {"name": "Report", "datasets": "sales.orders"}
    assert asked.headers["accept"] == "application/zip"


def test_a_folder_that_is_there_is_never_written_over(run, service, tmp_path):
    service.projects = {"1": archive({"README.md": "theirs\n"})}
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "README.md").write_text("mine\n")
    done = run("new", "Report", "--url", service.url)
    assert done.exit_code == BadConfig.exit_code
    assert "is there already" in done.output
    assert [each.name for each in (tmp_path / "report").iterdir()] == ["README.md"]
    assert (tmp_path / "report" / "README.md").read_text() == "mine\n"


def test_without_the_service_nothing_is_started_and_the_address_is_said(run, tmp_path):
    done = run("new", "Report", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 4
    assert "cannot be reached at http://127.0.0.1:1" in done.output
    assert not (tmp_path / "report").exists()


def test_a_place_where_nothing_can_be_written_is_said_and_no_half_of_a_project_stays(run, service, tmp_path):
    service.projects = {"1": archive({"README.md": "# Report\n"})}
    (tmp_path / "file").write_text("mine\n")
    done = run("new", "Report", "--url", service.url, "--into", str(tmp_path / "file" / "below"))
    assert done.exit_code == BadConfig.exit_code, done.exception
    assert "cannot be written" in done.output
    assert not (tmp_path / "report").exists()


def test_a_project_for_a_newer_python_says_so_and_how_to_go_on(run, service):
    """Seen to fail with the project's own Python not looked at."""
    for wanted, told in (("3.99", True), ("3.11", False)):
        name = f"of-{wanted.replace('.', '-')}"
        held = {"pyproject.toml": f'[project]\nname = "x"\nrequires-python = ">={wanted}"\n'}
        service.projects = {"1": archive(held, folder=name)}
        done = run("new", "Report", "--url", service.url)
        assert done.exit_code == 0, done.output
        assert (f"needs Python {wanted}" in done.output, f"python{wanted} -m venv" in done.output) == (told, told)


@pytest.mark.parametrize(
    "path",
    ["../evil", "report/../../evil", "/etc/passwd", "report/..", "report\\evil", "report/a\\b", "C:/evil", "report/",
     "report/a//b", "report/.", "report/a./b", "report/a\x1b[2J", "report/con?"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_writes_nothing(path):
    """Seen to fail with the shape of a part of a path taken away."""
    with pytest.raises(ServiceRefused, match="Nothing was written"):
        Project.read(archive({path: "evil"}, folder=""))


def test_what_is_no_project_writes_nothing():
    for content in (b"", b"nonsense", archive({}), archive({"one/a": "x", "two/b": "x"}, folder="")):
        with pytest.raises(ServiceRefused, match="Nothing was written"):
            Project.read(content)


# --- update ----------------------------------------------------------------------------------------------------------


def test_an_update_merges_what_changed_on_either_side_and_commits_nothing(run, begun, monkeypatch):
    (begun / "Dockerfile").write_text(DOCKERFILE.replace("CMD kedro run", "CMD kedro run --env prod"))
    commit(begun)
    monkeypatch.chdir(begun)
    done = run("update", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output.splitlines()[-1])
    changed = {
        "Dockerfile": "changed",
        "ci.yml": "changed",
        "new.txt": "added",
        "old.txt": "removed",
        RECORD: "changed",
    }
    assert (told["from"], told["to"], told["files"]) == ("1", "2", changed)
    assert (
        begun / "Dockerfile"
    ).read_text() == "FROM python:3.13-slim\n\nRUN pip install\n\nCMD kedro run --env prod\n"
    assert git(begun, "log", "--format=%s").splitlines() == ["So far", "So far"]
    assert "?? new.txt" in git(begun, "status", "--porcelain")
    commit(begun)
    again = run("update")
    assert "Nothing to do" in again.output


def test_what_both_changed_is_left_with_marks_and_said(run, begun, monkeypatch):
    (begun / "Dockerfile").write_text(DOCKERFILE.replace("3.12", "3.11"))
    commit(begun)
    monkeypatch.chdir(begun)
    done = run("update")
    assert done.exit_code == Denied.exit_code
    assert "conflict  Dockerfile" in done.output
    assert "Look for <<<<<<< there" in done.output
    assert "kept: " not in done.output
    held = (begun / "Dockerfile").read_text()
    assert "<<<<<<< yours\nFROM python:3.11-slim\n" in held
    assert "FROM python:3.13-slim\n>>>>>>> the templates now" in held


def test_what_was_removed_here_stays_away_and_what_was_changed_here_is_not_removed(begun, service):
    (begun / "ci.yml").unlink()
    (begun / "old.txt").write_text("mine\n")
    made = changes(begun, *(Project.read(service.projects[version]) for version in ("1", "2")))
    assert {change.path: change.kind for change in made if change.kind is Kind.KEPT} == {
        "ci.yml": Kind.KEPT,
        "old.txt": Kind.KEPT,
    }


def test_work_that_is_not_committed_is_not_touched(run, begun, monkeypatch):
    """Seen to fail without the question to git."""
    monkeypatch.chdir(begun)
    (begun / "notes.txt").write_text("mine\n")
    done = run("update")
    assert done.exit_code == BadConfig.exit_code
    assert "not committed" in done.output
    assert (begun / "ci.yml").read_text() == "steps: [lint]\n"


def test_a_patch_changes_nothing_and_does_the_same_when_it_is_applied(run, begun, monkeypatch, tmp_path):
    monkeypatch.chdir(begun)
    done = run("update", "--patch", str(tmp_path / "update.patch"))
    assert done.exit_code == 0, done.output
    assert not git(begun, "status", "--porcelain")
    git(begun, "apply", str(tmp_path / "update.patch"))
    by_patch = {path.name: path.read_text() for path in begun.iterdir() if path.is_file()}
    git(begun, "checkout", "--quiet", "--", ".")
    git(begun, "clean", "--quiet", "--force")
    assert run("update").exit_code == 0
    assert {path.name: path.read_text() for path in begun.iterdir() if path.is_file()} == by_patch


def test_what_is_no_file_of_the_project_is_left_alone(run, begun, tmp_path):
    """A folder, a link and a folder that is a link, where the templates have files: seen to be written through."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "new.txt").write_text("theirs\n")
    (begun / "ci.yml").unlink()
    (begun / "ci.yml").mkdir()
    (begun / "ci.yml" / "mine").write_text("mine\n")
    (begun / "new.txt").symlink_to(outside / "new.txt")
    commit(begun)
    done = run("update")
    assert done.exit_code == 0, done.output
    assert "kept     ci.yml" in done.output
    assert "kept     new.txt" in done.output
    assert (outside / "new.txt").read_text() == "theirs\n"
    assert (begun / "ci.yml" / "mine").read_text() == "mine\n"
    assert "python:3.13" in (begun / "Dockerfile").read_text()


def test_a_folder_that_is_a_link_is_not_written_through(begun, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (begun / "docs").symlink_to(outside)
    (change,) = changes(begun, Project("report", {}), Project("report", {"docs/new.txt": b"new"}))
    assert change.kind is Kind.KEPT
    assert not [*outside.iterdir()]


def test_files_with_the_ends_of_lines_of_windows_keep_them(run, begun):
    """Seen to be a conflict in every file."""
    git(begun, "config", "core.autocrlf", "false")
    changed = DOCKERFILE.replace("CMD kedro run", "CMD kedro run --env prod").replace("\n", "\r\n")
    (begun / "Dockerfile").write_bytes(changed.encode())
    (begun / "ci.yml").write_bytes(b"steps: [lint]\r\n")
    commit(begun)
    done = run("update")
    assert done.exit_code == 0, done.output
    assert (begun / "Dockerfile").read_bytes() == changed.replace("3.12", "3.13").encode()
    assert (begun / "ci.yml").read_bytes() == b"steps: [lint, test]\r\n"


def test_a_patch_holds_what_stands_there_byte_for_byte(run, begun, tmp_path):
    """Letters of another encoding, a form feed, a separator of lines that is none to git: seen to spoil the patch."""
    odd = DOCKERFILE.replace("RUN", "# a\x0cb\u2028c\n# \ufffd\nRUN").encode().replace("\ufffd".encode(), b"\xff\xfe")
    (begun / "Dockerfile").write_bytes(odd)
    commit(begun)
    done = run("update", "--patch", str(tmp_path / "update.patch"))
    assert done.exit_code == 0, done.output
    git(begun, "apply", str(tmp_path / "update.patch"))
    assert (begun / "Dockerfile").read_bytes() == odd.replace(b"3.12", b"3.13")


def test_a_patch_that_cannot_be_written_is_said(run, begun, tmp_path):
    done = run("update", "--patch", str(tmp_path / "nowhere" / "update.patch"))
    assert done.exit_code == BadConfig.exit_code, done.exception
    assert "cannot be written" in done.output


def test_a_package_that_was_renamed_here_is_not_made_again(begun):
    """What stood under the old name is not made again; all else is brought up to date."""
    before = Project("report", {"src/report/nodes.py": b"old\n", "README.md": b"old\n"})
    after = Project("report", {"src/report/nodes.py": b"new\n", "README.md": b"new\n"})
    (begun / "src" / "sales").mkdir()
    (begun / "src" / "sales" / "nodes.py").write_text("old\n")
    (begun / "README.md").write_text("old\n")
    assert {change.path: change.kind for change in changes(begun, before, after)} == {
        "src/report/nodes.py": Kind.KEPT,
        "README.md": Kind.CHANGED,
    }


def test_without_git_nothing_is_touched_and_a_patch_is_still_made(run, begun, tmp_path):
    (begun / ".git").rename(tmp_path / "git")
    done = run("update")
    assert done.exit_code == BadConfig.exit_code
    assert "no git repository" in done.output
    assert "python:3.12" in (begun / "Dockerfile").read_text()
    assert run("update", "--patch", str(tmp_path / "update.patch")).exit_code == 0


def test_a_patch_of_nothing_is_empty():
    assert not patch([])


def test_a_project_that_was_not_started_so_is_told(run, begun, monkeypatch):
    monkeypatch.chdir(begun)
    (begun / RECORD).write_text("version: [")
    assert "cannot be read" in run("update").output
    (begun / RECORD).unlink()
    done = run("update")
    assert done.exit_code == BadConfig.exit_code
    assert "was not started by Muniment" in done.output
