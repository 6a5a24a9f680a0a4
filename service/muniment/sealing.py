"""Seals the ledger beside the service: a process of its own, which nobody who is served waits for.

``muniment serve`` starts it, starts it again when it dies, and ends it; it ends by itself when
the service is gone. Several hosts may each have one: they take turns. Elsewhere the same
is ``muniment audit seal``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Final

from muniment.api.logs import Form, configure
from muniment.core.problems import CannotStart, Problem
from muniment.flows.seal_ledger import LARGEST, Sealer, SealingStopped, make_ready
from muniment.flows.verify_ledger import Auditing
from muniment.identity.seal_keys import SealKeys
from muniment.settings import Settings, WitnessBucket, read
from muniment.store import embedded, migrations
from muniment.store.databases import Database
from muniment.store.witnesses import FileWitness, ObjectWitness, Witness, in_data_directory

logger = logging.getLogger("muniment.sealing")

#: How often it is looked for rows to seal, and how long to wait where something is wrong.
_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 10.0

#: How soon a sealer that died is started again, and how often it is looked whether it lives.
_RESTART_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.2
_END_SECONDS: Final = 10.0


def witnesses_of(settings: Settings) -> Sequence[Witness]:
    """The witnesses that the settings name."""
    if settings.witnesses is None:
        return [in_data_directory(settings.data_dir)]
    found: list[Witness] = []
    for each in settings.witnesses:
        every = timedelta(seconds=each.every)
        if isinstance(each, WitnessBucket):
            found.append(ObjectWitness(each.bucket, each.prefix, each.endpoint, each.region, each.retain_days, every))
        else:
            path = each.path or in_data_directory(settings.data_dir).path
            found.append(FileWitness(path, every))
    return found


@asynccontextmanager
async def sealer(settings: Settings, url: str) -> AsyncIterator[Sealer]:
    """A sealer on the database at an address."""
    db = Database.open(url, connections=2, statement_seconds=60, transaction_seconds=120)
    try:
        await migrations.require_current(db)
        await make_ready(db, SealKeys(settings.seal_key_path))
        yield Sealer(db, SealKeys(settings.seal_key_path), witnesses_of(settings))
    finally:
        await db.close()


@asynccontextmanager
async def audited(settings: Settings, url: str) -> AsyncIterator[tuple[Database, Auditing]]:
    """A database to verify, and what the settings hold it to; a search through all of it takes its time."""
    db = Database.open(url, connections=2, statement_seconds=86_400, transaction_seconds=86_400)
    keys = SealKeys(settings.seal_key_path)
    try:
        await migrations.require_current(db)
        pinned = [keys.current.public] if keys.path.exists() else []
        yield db, Auditing(pinned, witnesses_of(settings))
    finally:
        await db.close()


async def seal_on(settings: Settings, url: str) -> None:
    """Seal until this is cancelled. A database that was replaced, by a backup or by a standby, is opened anew."""
    opened = False
    while True:
        try:
            async with sealer(settings, url) as working:
                opened = True
                await _work(working)
            logger.warning("The database was replaced by another: the sealer begins anew.")
        except Problem as problem:
            if not opened:
                raise
            logger.error("The ledger is not sealed: %s", problem.detail)  # noqa: TRY400  the words say it
        await asyncio.sleep(_SECONDS)


async def _work(working: Sealer) -> None:
    """Seal, and tell each witness beside it, as long as it is the same database: for a slow witness nobody waits."""
    agreed = asyncio.Event()
    telling = [asyncio.create_task(_tell_on(working, each, agreed)) for each in working.witnesses]
    try:
        await _seal_on(working, agreed)
    finally:
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)


async def _seal_on(working: Sealer, agreed: asyncio.Event) -> None:
    """Seal each second, and at once where more waits than one seal holds; only while all witnesses agree."""
    said = ""
    while not working.over:
        pause = _SECONDS
        try:
            if not agreed.is_set():
                await working.hold_to_witnesses()
                agreed.set()
            while (seal := await working.seal()) is not None and seal.size - seal.first == LARGEST:
                pass
            said = ""
        except Problem as problem:
            agreed.clear()
            pause = _AGAIN_SECONDS if isinstance(problem, SealingStopped) else _SECONDS
            if problem.detail != said:
                said = problem.detail
                logger.error("The ledger is not sealed: %s", said)  # noqa: TRY400  the words say it
        await asyncio.sleep(pause)


async def _tell_on(working: Sealer, witness: Witness, agreed: asyncio.Event) -> None:
    """Tell a witness as often as it wants, and one that was away as soon as it is back."""
    while True:
        await agreed.wait()
        pause = _SECONDS
        try:
            told = await working.tell(witness)
            if told.fault is None:
                pause = max(pause, witness.every.total_seconds())
        except Problem:
            # Where that is more than a database that is away, whoever seals finds the same, and says it.
            agreed.clear()
        except Exception:
            # A fault of ours: this witness waits, and the sealing goes on.
            logger.exception("The witness %s could not be told.", witness.name)
            pause = _AGAIN_SECONDS
        await asyncio.sleep(pause)


@contextmanager
def sealed_beside(settings: Settings) -> Iterator[None]:
    """A sealer in a process of its own, as long as the block lasts, where the settings want one here."""
    if not settings.sealing:
        yield
        return
    # What a witness lacks is said now, once, and not by a sealer that dies of it again and again.
    witnesses_of(settings)
    ending = threading.Event()
    keeper = threading.Thread(target=_keep, args=(ending,), name="sealer", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ending.set()
        keeper.join(_END_SECONDS)


def _keep(ending: threading.Event) -> None:
    """Start the sealer, and again whenever it dies."""
    while not ending.is_set():
        # The settings are the environment's, which it has from us; what it reads from us is that we are gone.
        with subprocess.Popen([sys.executable, "-m", "muniment.sealing"], stdin=subprocess.PIPE) as process:
            while process.poll() is None and not ending.wait(_LOOK_SECONDS):
                pass
            if ending.is_set():
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                process.kill()
                return
        # A signal to all of a service's processes ends both, and then nothing is wrong.
        if not ending.wait(_RESTART_SECONDS):
            logger.warning("The sealer ended with %s; it is started again.", process.returncode)


def _leave_with_service() -> None:
    """End as soon as whoever started this is gone. A seal is whole or not there, wherever it ends."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


async def _run(settings: Settings) -> None:
    url = settings.database_url or embedded.url_if_running(settings.data_dir)
    if url is None:
        raise CannotStart("The embedded PostgreSQL does not run.")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    await seal_on(settings, url)


def main() -> int:
    """Seal until the service is gone."""
    # Ctrl-C reaches every process of a terminal: the service ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_service, daemon=True).start()
    settings = read()
    configure(Form(settings.log_format))
    try:
        asyncio.run(_run(settings))
    except Problem as problem:
        logger.error("The ledger is not sealed: %s", problem.detail)  # noqa: TRY400  the words say it
        return 1
    except asyncio.CancelledError:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
