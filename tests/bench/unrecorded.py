"""The service without its ledger: every route as it is, and a committer that says of each row at once that it stands.

It is what the same answers cost where nothing is written down, and no answer of it is Muniment's. It ends when its
standard input closes.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime

import uvicorn

from muniment import app as wiring
from muniment.settings import read
from muniment.store.committer import Committer
from muniment.store.present import Now, Present
from tests.bench.bare import end_with_input


class Forgetful(Committer):
    """Writes nothing. What is so now it knows from its start: nothing is changed meanwhile."""

    _now: Now

    async def start(self) -> None:
        """Learn what is so now."""
        await super().start()
        self._now = await Present(self._db).now()

    def submit(self, at: datetime, text: str) -> asyncio.Future[Now]:
        """Say that the row stands."""
        del at, text
        answer: asyncio.Future[Now] = asyncio.get_running_loop().create_future()
        answer.set_result(self._now)
        return answer


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    settings = read()
    vars(wiring)["Committer"] = Forgetful
    uvicorn.run(
        wiring.create_app(settings, wiring.database_url(settings)),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
    )
