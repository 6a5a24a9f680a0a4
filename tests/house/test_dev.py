"""`./dev`: says what it can do, installs only when it has to, and ends whatever it started."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
VERBS = ("up", "demo", "test", "check", "fix", "lock", "bench", "faults", "matrix", "starters", "projects", "help")
#: What the environment is made from.
MADE_FROM = ("requirements.lock", "service/package-lock.json", "service/pyproject.toml", "client/pyproject.toml")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the environment is imitated with POSIX scripts")


@pytest.fixture
def checkout(tmp_path):
    """As much of a checkout as `./dev` looks at, with an empty environment beside it and a uv that only tells."""
    for name in ("dev", *MADE_FROM):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    program(tmp_path / "path" / "uv", "import sys; sys.exit(0)")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)


def environment(checkout: Path) -> dict[str, str]:
    left = {name: value for name, value in os.environ.items() if name != "MUNIMENT_DEV_VENV"}
    return {**left, "PATH": f"{checkout / 'path'}{os.pathsep}{left['PATH']}"}


def dev(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "dev"), *arguments]
    return subprocess.run(command, env=environment(checkout), capture_output=True, text=True, timeout=60, check=False)


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("$ ") for line in done.stdout.splitlines() if line.startswith("$ ")]


def make_ready(checkout: Path, python: str) -> None:
    """An environment with the stamp that `./dev` itself would write, and a Python that runs this text."""
    loader = SourceFileLoader("dev_of_a_copy", str(checkout / "dev"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    program(checkout / ".venv" / "bin" / "python", python)
    (checkout / ".venv" / "muniment-dev").write_text(module._wanted())


def test_help_lists_every_verb():
    done = dev(ROOT, "help")
    assert done.returncode == 0
    assert tuple(line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")) == VERBS


def test_an_unknown_verb_is_refused_with_those_there_are():
    done = dev(ROOT, "tset")
    assert done.returncode == 2
    assert all(verb in done.stderr for verb in VERBS)


def test_a_python_too_old_can_still_read_why_it_is_refused():
    module = ast.parse((ROOT / "dev").read_text(encoding="utf-8"), feature_version=(3, 6))
    refusal = next(place for place, node in enumerate(module.body) if "version_info" in ast.unparse(node))
    assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.If) for node in module.body[:refusal])


def test_a_warm_start_installs_nothing_and_passes_everything_on(checkout):
    make_ready(checkout, "import sys; print(sys.argv[1:]); sys.exit(5)")
    done = dev(checkout, "test", "tests/core", "-x")
    (asked,) = commands(done)
    assert asked == ".venv/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder tests/core -x"
    assert done.stdout.splitlines()[-1] == str(asked.split()[1:])
    assert done.returncode == 5


def test_what_it_starts_keeps_bytecode_even_where_that_is_forbidden(checkout, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    make_ready(checkout, "import sys; print(sys.dont_write_bytecode)")
    assert dev(checkout, "test").stdout.splitlines()[-1] == "False"


def test_a_cold_start_installs_what_is_locked_and_then_only_our_own(checkout):
    made, locked, ours, scripts, asked = commands(dev(checkout, "test"))
    assert made.endswith("-m venv --without-pip .venv")
    assert "--require-hashes --requirement requirements.lock" in locked
    assert "--no-deps --no-build-isolation --editable service --editable client" in ours
    assert scripts == ".venv/bin/python service/hatch_build.py"
    assert asked == ".venv/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder"


def test_where_the_scripts_of_others_cannot_be_had_the_pages_go_without(checkout):
    done = dev(checkout, "test")
    assert "The pages go without htmx" in done.stdout


@pytest.mark.parametrize("changed", MADE_FROM)
def test_a_changed_lock_or_project_makes_the_environment_anew(checkout, changed):
    make_ready(checkout, "")
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert len(commands(dev(checkout, "test"))) == 5


def test_a_half_made_environment_is_made_anew(checkout):
    program(checkout / "path" / "uv", "import sys; sys.exit(1)")
    failed = dev(checkout, "test")
    assert failed.returncode == 1
    assert "run the same command again" in failed.stderr
    program(checkout / "path" / "uv", "import sys; sys.exit(0)")
    assert len(commands(dev(checkout, "test"))) == 5


def test_a_folder_that_is_no_environment_is_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "thesis.txt").write_text("years of work")
    done = dev(checkout, "test")
    assert done.returncode == 1
    assert "not a virtual environment" in done.stderr
    assert (checkout / ".venv" / "thesis.txt").exists()


@contextmanager
def running(checkout: Path, python: str):
    """`./dev test` over a Python that starts a child and waits for it; yields both."""
    make_ready(checkout, python)
    command = [sys.executable, str(checkout / "dev"), "test"]
    with subprocess.Popen(command, env=environment(checkout), stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        started.stdout.readline()
        child = psutil.Process(int(started.stdout.readline()))
        try:
            yield started, child
        finally:
            child.kill() if child.is_running() else None
            started.kill()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


STARTS_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""
LEAVES_A_CHILD = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
"""


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_asked_to_stop_it_ends_whatever_it_started(checkout, asked, code):
    with running(checkout, STARTS_A_CHILD) as (started, child):
        started.send_signal(asked)
        assert started.wait(timeout=10) == code
        assert gone(child)


def test_a_second_ctrl_c_ends_what_did_not_listen_to_the_first(checkout):
    with running(checkout, STUBBORN) as (started, child):
        started.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert not gone(child)
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=10) == 130
        assert gone(child)


def test_what_a_program_leaves_behind_ends_with_it(checkout):
    with running(checkout, LEAVES_A_CHILD) as (started, child):
        assert started.wait(timeout=10) == 0
        assert gone(child)
