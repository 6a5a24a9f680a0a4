"""The route that one writes first: FastAPI, an ORM transaction for each request, and the catalog written by PyYAML.

It is generous to that: nobody is verified, nothing is decided, and PyYAML's C dumper writes. It ends when its standard
input closes.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import uvicorn
import yaml
from fastapi import FastAPI, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.bench.bare import end_with_input


class Base(DeclarativeBase):
    """What has a table."""


class Fetch(Base):
    """A line of the record."""

    __tablename__ = "straightforward"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    subject: Mapped[str]
    environment: Mapped[str]
    entries: Mapped[int]


def application(url: str, catalog: Path) -> FastAPI:
    """The route, on a database, with the catalog that a file holds."""
    engine = create_async_engine(url)
    session = async_sessionmaker(engine)
    entries = json.loads(catalog.read_text(encoding="utf-8"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/v1/catalog")
    async def get_catalog(request: Request, environment: str) -> Response:
        transaction: AsyncSession
        async with session.begin() as transaction:
            subject = request.headers.get("authorization", "")[-40:]
            fetch = Fetch(
                id=uuid4(),
                at=datetime.now(UTC).replace(tzinfo=None),
                subject=subject,
                environment=environment,
                entries=len(entries),
            )
            transaction.add(fetch)
        text = yaml.dump(entries, Dumper=yaml.CSafeDumper, sort_keys=False)
        return Response(text, media_type="application/yaml")

    @app.get("/readyz")
    async def get_readiness() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    # The options of `muniment serve`.
    uvicorn.run(
        application(sys.argv[2], Path(sys.argv[3])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
    )
