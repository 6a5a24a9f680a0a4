"""Uses that wait to be reported: nothing that was written down is lost, and nothing of others is touched.

Seen to fail: with the lock not taken, with a child keeping what its parent has open, with the file removed before the
service answers, with the last line read that its writer died in, and with nothing read anew after a full disk.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

from kedro_muniment import locks
from kedro_muniment.hooks import MunimentHooks
from kedro_muniment.service import Service
from kedro_muniment.sign_in.tokens import Token
from kedro_muniment.use import reporting, spool
from kedro_muniment.use.spool import Recipient, Spool

#: Places where nobody can make a file, root neither.
NOWHERE = "/proc/self"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Where programs keep their state, and the temporary directory."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


@pytest.fixture
def ann(service):
    return Recipient(service.url, "user:ann")


def files(places):
    return sorted(places.rglob("*.jsonl"))


def found(recipient, of=None):
    """What waits, taken and left waiting."""
    events = []
    for held in (of or Spool()).held(recipient):
        events += held.events
        held.release()
    return events


def named(*numbers):
    return [{"id": str(number), "dataset": "d"} for number in numbers]


def written(recipient, *numbers):
    """A spool whose process lives, with events in it."""
    made = Spool()
    for event in named(*numbers):
        made.add(recipient, event)
    return made


def died(made):
    """What the operating system does when the process of a spool ends."""
    for writing in made._writing.values():
        os.close(writing.descriptor)


def use(url, name="orders", subject="user:ann", **more):
    told = {"governed": f"sales.{name}", "local": name, "receipt": "r-1", "environment": "dev"}
    reporting.used("load", **told, url=url, subject=subject, **more)


def send(service, subject="user:ann", token=None):
    reporting.send(Service(service.url, Token(token or service.token_of("ann"))), subject)


@pytest.fixture
def own(monkeypatch):
    """A spool of the test's own in this process."""
    made = Spool()
    monkeypatch.setattr(spool, "own", made)
    yield made
    died(made)


# --- What is written ----------------------------------------------------------------------------


def test_an_event_stands_in_its_owners_own_file_when_it_is_added(places, ann):
    made = written(ann, 1)
    (file,) = files(places)
    head, event = map(json.loads, file.read_text().splitlines())
    assert (head["url"], head["subject"], [event]) == (ann.url, "user:ann", named(1))
    for part, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
        assert stat.S_IMODE(part.stat().st_mode) == mode
    died(made)


def test_nobody_takes_the_file_of_a_living_process(ann):
    made = written(ann, 1, 2)
    assert found(ann) == []
    died(made)
    assert found(ann) == named(1, 2)


def test_what_a_process_takes_of_its_own_it_goes_on_after_in_another_file(places, ann):
    made = written(ann, 1)
    (held,) = made.held(ann)
    made.add(ann, *named(2))
    assert (held.events, len(files(places))) == (named(1), 2)
    held.drop()
    died(made)
    assert found(ann) == named(2)


def test_of_two_who_send_what_is_left_each_file_is_one_ones(ann):
    for number in (1, 2):
        died(written(ann, number))
    first, second = Spool().held(ann), Spool().held(ann)
    one, other = next(first), next(second)
    assert sorted(event["id"] for held in (one, other) for event in held.events) == ["1", "2"]
    assert list(first) + list(second) == []
    one.release()
    other.release()


@pytest.mark.parametrize("cut", [1, 5, 11], ids=str)
def test_the_line_that_a_writer_died_in_is_none(places, ann, cut):
    died(written(ann, 1, 2))
    (file,) = files(places)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - cut)
    assert found(ann) == named(1)


def test_a_file_whose_writer_died_before_the_first_line_is_removed(places, ann):
    died(written(ann, 1))
    (file,) = files(places)
    file.write_bytes(b"")
    assert found(ann) == []
    assert files(places) == []


def test_what_another_version_has_written_is_left_to_it(places, ann):
    died(written(ann, 1))
    (file,) = files(places)
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    assert found(ann) == []
    assert spool.waiting() == []
    assert file.read_text().count("\n") == 2


def test_a_new_file_that_is_taken_for_a_dead_ones_before_it_is_locked_is_made_again(ann, monkeypatch):
    """Seen to fail with the links not counted: what was written then was in no directory."""
    real, taken = locks.taken, []

    def late(descriptor):
        if not taken:
            taken.append(True)
            assert found(ann) == []  # the other removes it meanwhile
        return real(descriptor)

    monkeypatch.setattr(locks, "taken", late)
    made = written(ann, 1)
    died(made)
    assert found(ann) == named(1)


def test_files_that_others_could_have_written_are_left_alone(places, ann):
    for number in (1, 2):
        died(written(ann, number))
    open_, linked = files(places)
    open_.chmod(0o666)
    elsewhere = places / "elsewhere"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    assert found(ann) == []
    assert elsewhere.exists()


def test_a_directory_that_is_somebody_elses_is_not_used(places, ann):
    (places / "tmp" / f"kedro-muniment-uses-{os.getuid()}").symlink_to(places)
    os.environ["XDG_STATE_HOME"] = NOWHERE
    made = written(ann, 1)
    assert files(places) == []
    assert made.unwritten(ann) == named(1)


def test_with_a_home_that_cannot_be_written_events_wait_in_the_temporary_directory(places, ann, said):
    os.environ["XDG_STATE_HOME"] = NOWHERE
    died(written(ann, 1))
    assert [file.is_relative_to(places / "tmp") for file in files(places)] == [True]
    assert found(ann) == named(1)
    assert said == []


def test_where_nothing_can_be_written_it_is_said_once_and_held(places, ann, said, monkeypatch):
    os.environ["XDG_STATE_HOME"] = NOWHERE
    monkeypatch.setattr(tempfile, "tempdir", NOWHERE)
    made = written(ann, 1, 2, 3)
    assert made.unwritten(ann) == named(1, 2, 3)
    (line,) = said
    assert line.startswith("WARNING What this run uses cannot be written down (")


@contextmanager
def room_for(size):
    """A disk on which a file can have this many bytes and no more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [0, 4, 10], ids=str)
def test_what_a_full_disk_takes_half_of_is_held_and_spoils_nothing(places, ann, room):
    made = written(ann, 1)
    (file,) = files(places)
    with room_for(file.stat().st_size + room):
        made.add(ann, *named(2))
    made.add(ann, *named(3))
    assert made.unwritten(ann) == named(2)
    died(made)
    assert found(ann) == named(1, 3)


def test_a_child_that_is_forked_keeps_nothing_of_its_parents_open(ann):
    spool.own.add(ann, *named(1))
    lives, ends = os.pipe()
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends)
        os.write(begins, b"!")
        os.read(lives, 1)  # until the parent has looked
        os._exit(0)
    os.read(begun, 1)
    died(spool.own)
    spool.own._writing.clear()
    try:
        assert found(ann) == named(1)
    finally:
        for end in (ends, lives, begun, begins):
            os.close(end)
        os.waitpid(child, 0)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_worker_that_outlives_its_run_keeps_nothing_to_itself(service, ann, start):
    """Killed, a run leaves its workers waiting for ever. Seen to fail: what they had used waited with them."""
    context = multiprocessing.get_context(start)
    here, there = context.Pipe()
    worker = context.Process(target=work, args=(service.url, there))
    worker.start()
    here.recv()
    assert [event["name"] for event in found(ann)] == ["orders"]
    here.send("go on")
    here.recv()
    assert {event["name"] for event in found(ann)} == {"orders", "report"}
    worker.kill()
    worker.join()


def work(url, there):
    for name in ("orders", "report"):
        use(url, name)
        MunimentHooks().after_dataset_loaded()
        there.send(name)
        there.recv()


# --- What is sent -------------------------------------------------------------------------------


def test_what_was_used_is_sent_in_one_question_and_removed(places, service, ann, own):
    died(written(ann, 1))
    use(service.url)
    use(service.url, "report")
    send(service)
    assert [each["id"] for each in service.reported[2:]] == ["1"]
    assert [each["dataset"] for each in service.reported[:2]] == ["sales.orders", "sales.report"]
    assert files(places) == []
    send(service)
    assert len(service.reported) == 3


def test_what_is_of_another_subject_or_another_service_waits_for_its_own(places, service, own):
    use(service.url, subject="user:bob")
    use("https://muniment.example.org")
    use(service.url)
    send(service)
    assert len(service.reported) == 1
    assert len(files(places)) == 2
    send(service, "user:bob")
    assert len(service.reported) == 2


def test_a_long_report_is_sent_in_parts_that_the_service_takes(service, ann, own):
    for _ in range(2_300):
        use(service.url, version="v" * 300)
    sizes = []
    took = Service.use

    def counting(self, events, within):
        sizes.append((len(events), len(json.dumps(events))))
        took(self, events, within)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Service, "use", counting)
        send(service)
    assert sum(count for count, _ in sizes) == len({each["id"] for each in service.reported}) == 2_300
    assert all(count <= reporting.MOST_EVENTS and size <= 1024 * 1024 for count, size in sizes)


REFUSING = {
    "an error of its own": (500, "application/problem+json", '{"title": "x", "detail": "y"}'),
    "too busy": (429, "application/problem+json", '{"title": "x", "detail": "y"}'),
    "a portal": (200, "text/html", "<html>Sign in to this network</html>"),
    "a portal's object": (200, "application/json", '{"login": "here"}'),
    "a portal's cache": (304, "", ""),
    "only some of it": (200, "application/json", '{"recorded": 0, "repeated": 0}'),
    "an older service": (404, "application/problem+json", '{"title": "x", "detail": "y"}'),
    "not any more": (403, "application/problem+json", '{"title": "x", "detail": "y"}'),
}


@pytest.mark.parametrize("why", REFUSING)
def test_what_the_service_did_not_take_waits_with_the_same_ids(service, ann, own, said, why):
    use(service.url)
    service.instead["/v1/use"] = REFUSING[why]
    send(service)
    (line,) = said
    assert line.startswith(f"WARNING {reporting.UNREPORTED}: ")
    (waiting,) = found(ann, own)
    del service.instead["/v1/use"]
    send(service)
    assert service.reported == [waiting]


def test_a_long_report_that_breaks_off_goes_on_where_it_did(places, service, ann, own, monkeypatch):
    """Seen to fail with a file sent as a whole or not at all: what takes longer than one sending was never sent."""
    took = Service.use

    def once(self, events, within):
        took(self, events, within)
        service.instead["/v1/use"] = REFUSING["too busy"]

    monkeypatch.setattr(Service, "use", once)
    died(written(ann, *range(1_500)))
    died(written(ann, *range(1_500, 2_300)))
    for _ in range(4):
        service.instead.clear()
        send(service)
    assert sorted(int(each["id"]) for each in service.reported) == list(range(2_300))
    assert files(places) == []


def test_what_could_not_be_written_down_goes_on_where_it_broke_off(service, own, ann, monkeypatch):
    os.environ["XDG_STATE_HOME"] = NOWHERE
    monkeypatch.setattr(tempfile, "tempdir", NOWHERE)
    for event in named(*range(1_200)):
        own.add(ann, event)
    took = Service.use

    def once(self, events, within):
        took(self, events, within)
        service.instead["/v1/use"] = REFUSING["too busy"]

    monkeypatch.setattr(Service, "use", once)
    for _ in range(2):
        service.instead.clear()
        send(service)
    assert [int(each["id"]) for each in service.reported] == list(range(1_200))


def test_many_files_are_sent_by_a_process_that_may_open_few(places, service, ann, own):
    """As after a week of killed runs. Seen to fail with all of them open at once: no connection could be made."""
    for number in range(250):
        died(written(ann, number))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(file.name) for file in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 150, limits[1]))
    try:
        send(service)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len({each["id"] for each in service.reported}) == 250
    assert files(places) == []


def test_a_service_that_says_nothing_is_not_waited_for(own, said):
    """Seen to hang with the time for all of it not passed on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        use(url)
        reporting.send(Service(url, Token("t")), "user:ann", seconds=0.2)
    assert said == [f"WARNING {reporting.UNREPORTED}: Muniment at {url} did not answer."]
    assert len(found(Recipient(url, "user:ann"), own)) == 1


def test_one_use_that_the_service_never_takes_is_set_aside_and_keeps_nothing_up(places, service, own, said):
    service.untaken.add("sales.odd")
    for name in ("a", "b", "odd", "c", "d"):
        use(service.url, name)
    send(service)
    assert [each["name"] for each in service.reported] == ["a", "b", "c", "d"]
    (aside,) = places.rglob("not-taken.txt")
    assert json.loads(aside.read_text())["name"] == "odd"
    (line,) = said
    assert str(aside) in line
    assert files(places) == []


def test_what_could_not_be_written_down_is_sent_all_the_same(service, own, ann, monkeypatch):
    os.environ["XDG_STATE_HOME"] = NOWHERE
    monkeypatch.setattr(tempfile, "tempdir", NOWHERE)
    use(service.url)
    service.instead["/v1/use"] = REFUSING["too busy"]
    send(service)
    del service.instead["/v1/use"]
    send(service)
    assert len(service.reported) == 1
    send(service)
    assert len(service.reported) == 1


def test_nothing_is_told_of_what_a_recorded_catalog_gives(places, own):
    use("/home/ann/recorded.yml")
    assert files(places) == []


def test_the_doctor_learns_how_many_wait_for_whom(service, ann):
    for number in (1, 2):
        died(written(ann, number))
    living = written(ann, 3)
    assert spool.waiting() == [spool.Waiting(ann, 2)]
    died(living)


# --- Kills --------------------------------------------------------------------------------------

#: Writers, and those who send, forked and killed at any moment. What a writer has written down it says to a file.
KILLS = """
    import os, random, signal, sys, time
    import httpx
    from kedro_muniment.use import reporting, spool
    from kedro_muniment.service import Service
    from kedro_muniment.sign_in.tokens import Token

    url, token, rounds, acknowledged = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    service = Service(url, Token(token))
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def use(local):
        reporting.used(
            "load", governed="sales.orders", local=local, receipt="r", environment="dev", url=url, subject="user:ann"
        )
        os.write(log, f"{local}\\n".encode())

    def write():
        for number in range(100_000):
            use(f"{os.getpid()}-{number}")

    def send():
        while True:
            reporting.send(service, "user:ann")

    def both():
        for number in range(100_000):
            use(f"{os.getpid()}-{number}")
            if number % 50 == 49:
                reporting.send(service, "user:ann")

    def forked(work):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            work()
            os._exit(0)
        return child

    for turn in range(rounds):
        dice = random.Random(turn)
        use(f"parent-{turn}")
        children = [forked(work) for work in dice.choices([write, send, both], k=3)]
        for child in dice.sample(children, 3):
            time.sleep(dice.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    for _ in range(100):
        reporting.send(service, "user:ann", 30)
        if spool.own.is_empty(spool.Recipient(url, "user:ann")) and not spool.waiting():
            break
"""


def test_whoever_is_killed_whenever_no_use_is_lost_or_told_under_two_ids(service, places):
    """In the profile `deep` a hundred times as often."""
    rounds = 12 if settings().max_examples < 1000 else 1200
    log = places / "acknowledged"
    env = {**os.environ, "TMPDIR": str(places / "tmp")}
    arguments = [service.url, service.token_of("ann"), str(rounds), str(log)]
    ran = subprocess.run(
        [sys.executable, "-c", dedent(KILLS), *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    acknowledged = log.read_text().split()
    ids = {}
    for each in service.reported:
        assert ids.setdefault(each["name"], each["id"]) == each["id"]
    assert len(set(ids.values())) == len(ids)
    assert len(acknowledged) > 100
    assert Counter(acknowledged).most_common(1)[0][1] == 1
    assert set(acknowledged) - ids.keys() == set()
    assert files(places) == []
