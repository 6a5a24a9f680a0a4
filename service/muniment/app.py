"""Wires the house: settings in, a running service out. The only place that knows every floor."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from muniment.api import (
    authzen,
    beginnings,
    break_glass,
    catalogs,
    changes,
    datasets,
    domains,
    environments,
    explanations,
    grants,
    groups,
    health,
    keys,
    ledger,
    lint,
    policies,
    preflights,
    provenance,
    realm,
    requests,
    reviews,
    runs,
    schema,
    scim,
    subjects,
    uses,
    who,
)
from muniment.api.asking import Doorkeeper
from muniment.api.identifiers import new_id
from muniment.api.limits import Gate
from muniment.api.problems import MEDIA_TYPE, Failed, WrongMethod, answer
from muniment.api.reading_requests import ReadRequests, name_answer
from muniment.core.dataset_types import KnownTypes
from muniment.core.groups import is_builtin
from muniment.core.keys import RANDOM_BYTES, Pepper
from muniment.core.leases import Lengths
from muniment.core.occasions import Occasion
from muniment.core.policies import checked
from muniment.core.problems import CannotStart, Fault, Invalid, InvalidPolicy, NotFound, Problem, Unconfirmed
from muniment.core.provisioning import Directory
from muniment.core.realm import Realm
from muniment.core.schema import schema_text
from muniment.core.subjects import ITSELF
from muniment.flows.begin_realm import begin_realm, offer_beginning
from muniment.flows.break_glass import EmergencyKey, make_emergency_key
from muniment.flows.house import House
from muniment.flows.replay_decisions import Archive
from muniment.flows.sign_in import Entrance
from muniment.identity import secret
from muniment.identity.bearer import Bearer
from muniment.identity.browser import Providers
from muniment.identity.issuers import doubts
from muniment.identity.signing import Signer
from muniment.safe_start import refuse_danger
from muniment.settings import Settings, read, surroundings
from muniment.store import embedded, issuers, migrations
from muniment.store import keys as keys_store
from muniment.store import ledger as ledger_store
from muniment.store.databases import Database
from muniment.store.keys import Keys
from muniment.store.ledger import Committer
from muniment.store.present import Present
from muniment.store.realms import Realms
from muniment.store.refusals import Refusals
from muniment.store.roster import Roster
from muniment.store.subjects import Sightings
from muniment.web import account, pages, sign_in
from muniment.web import beginnings as beginning_pages

logger = logging.getLogger("muniment")

#: How often a worker makes sure that the ledger has room for the months to come.
_HOUSEKEEPING_SECONDS = 6 * 3600
_FETCH_SECONDS = 5


@dataclass(frozen=True)
class Wired:
    """Everything one worker runs on, started; closed by :func:`wired`."""

    house: House
    doorkeeper: Doorkeeper
    gate: Gate
    entrance: Entrance


def from_environment() -> FastAPI:
    """The service as the environment configures it: what each worker process runs."""
    settings = read()
    refuse_danger(settings, surroundings())
    return create_app(settings, database_url(settings))


def database_url(settings: Settings) -> str:
    """The database in force: the configured one, or the embedded one that runs already."""
    url = settings.database_url or embedded.url_if_running(settings.data_dir)
    if url is None:
        raise CannotStart("The embedded PostgreSQL does not run. Start it with the service: muniment serve")
    return url


def create_app(settings: Settings, url: str) -> FastAPI:
    """The service, ready to be served; what it needs is opened when its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with wired(settings, url) as parts:
            app.state.house = parts.house
            app.state.doorkeeper = parts.doorkeeper
            app.state.gate = parts.gate
            app.state.entrance = parts.entrance
            yield

    app = FastAPI(
        title="Muniment",
        version=version("muniment"),
        description="Serves to each user the Kedro catalog that this user may use, and nothing else.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"description": "A refusal (RFC 9457).", "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}},
        exception_handlers={
            Problem: _refused,
            RequestValidationError: _misread,
            HTTPException: _unrouted,
            Exception: _failed,
        },
    )
    app.state.public_url = _public_url(settings)
    app.state.schema = schema_text(settings.attributes)
    app.state.described_issuers = [
        {
            "name": issuer.name,
            "issuer": issuer.issuer,
            "client_id": issuer.client_id,
            "default": issuer.default,
            "audience": issuer.audience,
            "scopes": list(issuer.scopes),
            "resource": issuer.resource,
        }
        for issuer in settings.issuers
    ]
    app.state.directories = {
        issuer.name: Directory(issuer.name, issuer.default, issuer.scim_subject)
        for issuer in settings.issuers
        if issuer.kind != "services"
    }
    for door in (
        catalogs,
        preflights,
        uses,
        explanations,
        datasets,
        provenance,
        runs,
        domains,
        environments,
        groups,
        policies,
        grants,
        changes,
        realm,
        requests,
        lint,
        reviews,
        subjects,
        ledger,
        schema,
        who,
        authzen,
        break_glass,
        beginnings,
        keys,
        scim,
    ):
        app.include_router(door.router)
    app.include_router(health.router)
    for page in (pages, sign_in, account, beginning_pages):
        app.include_router(page.router)
    app.add_middleware(ReadRequests, is_page=pages.is_page, on_page=pages.refusal)
    return app


async def prepare(settings: Settings, url: str) -> str | None:
    """What happens once at each start of the service, before any worker: refuse to start, or make ready.

    Gives the link by which somebody can become the first administrator, as long as nobody is.
    """
    for doubt in doubts(settings.issuers):
        logger.warning("%s", doubt)
    db = Database.open(url)
    try:
        await migrations.require_current(db)
        async with db.begin() as tx:
            await issuers.hold(tx, {issuer.name: issuer.issuer for issuer in settings.issuers})
            await ledger_store.ensure_partitions(tx, datetime.now(UTC).date())
        link = await _begin(db, settings)
        await _check_secret(db, settings)
        _check_policies(await Realms(db, schema_text(settings.attributes)).current())
        _types(settings)
        return link
    finally:
        await db.close()


@asynccontextmanager
async def wired(settings: Settings, url: str) -> AsyncIterator[Wired]:
    """What one worker runs on: opened, started, and closed in the end."""
    db = Database.open(url)
    committer, refusals = Committer(db), Refusals(db)
    try:
        await migrations.require_current(db)
        await committer.start()
        await refusals.start()
        keeping = asyncio.create_task(_keep_house(db), name="housekeeping")
        try:
            async with db.begin() as tx:
                held_names = await issuers.names(tx)
            async with (
                httpx.AsyncClient(timeout=_FETCH_SECONDS, trust_env=False) as http,
                aclosing(Bearer(settings.issuers, http, held_names)) as bearer,
                aclosing(Providers(settings.issuers, http, held_names, _public_url(settings))) as providers,
            ):
                present = Present(db)
                held_keys = Keys(db, _pepper(settings))
                roster, sightings = Roster(db), Sightings(db)
                doorkeeper = Doorkeeper(bearer, held_keys, present, roster, sightings, refusals)
                hours = settings.session_hours.as_core()
                entrance = Entrance(db, providers, present, roster, sightings, refusals, hours)
                realms = Realms(db, schema_text(settings.attributes), present)
                # Nobody's first request waits for all of it to be loaded.
                await realms.current()
                gate = Gate(settings.limits, refusals.note)
                yield Wired(_house(settings, db, held_keys, realms, committer), doorkeeper, gate, entrance)
        finally:
            keeping.cancel()
            await refusals.stop()
            await committer.stop()
    finally:
        await db.close()


@asynccontextmanager
async def archive(settings: Settings, url: str) -> AsyncIterator[Archive]:
    """The realms and subject states of a database, for an audit beside the service."""
    db = Database.open(url)
    try:
        await migrations.require_current(db)
        yield Archive(db, Realms(db, schema_text(settings.attributes)))
    finally:
        await db.close()


async def emergency_key(settings: Settings, url: str, lasting: timedelta, because: str, account: str) -> EmergencyKey:
    """Break the glass on a database, beside the service or without it."""
    at = datetime.now(UTC)
    occasion = Occasion(ITSELF, at, new_id(at), client="muniment break-glass")
    async with wired(settings, url) as parts:
        drawn = secrets.token_bytes(RANDOM_BYTES)
        return await make_emergency_key(parts.house, occasion, lasting, because, drawn, account)


def _house(settings: Settings, db: Database, held_keys: Keys, realms: Realms, committer: Committer) -> House:
    hours = settings.lease_hours
    return House(
        db=db,
        keys=held_keys,
        realms=realms,
        ledger=committer,
        types=_types(settings),
        signer=Signer(secret.read(settings.secret_path), _public_url(settings)),
        lengths=Lengths(users=hours.users, services=hours.services),
        longest_key=timedelta(days=settings.key_days),
        breakers=settings.break_glass,
    )


def _pepper(settings: Settings) -> Pepper:
    return Pepper(secret.read(settings.secret_path))


async def _check_secret(db: Database, settings: Settings) -> None:
    """Make the secret where the service keeps its own; say so when keys were made under another one."""
    if settings.secret_file is None:
        secret.made(settings.secret_path)
    pepper = _pepper(settings)
    async with db.begin() as tx:
        strange = await keys_store.of_other_peppers(tx, pepper.name, datetime.now(UTC))
    if strange:
        logger.warning(
            "%d keys in force were made under another secret than that in %s, and do not open this service. Give "
            "every host the same file (MUNIMENT_SECRET_FILE); if the other one is lost, revoke them and make new ones.",
            strange,
            settings.secret_path,
        )


def _types(settings: Settings) -> KnownTypes:
    try:
        return KnownTypes.newest().registering(settings.dataset_types)
    except Invalid as refused:
        raise CannotStart(f"MUNIMENT_DATASET_TYPES: {refused.detail}") from refused


async def _begin(db: Database, settings: Settings) -> str | None:
    """On an empty realm make the first administrator that the settings name, or a link to become it.

    Later neither changes anything.
    """
    at = datetime.now(UTC)
    if settings.bootstrap_admin is None:
        secret = secrets.token_urlsafe(32)
        offered = await offer_beginning(db, at, secret)
        return f"{_public_url(settings)}/first-administrator?link={secret}" if offered else None
    occasion = Occasion(ITSELF, at, new_id(at), client="muniment serve")
    if not await begin_realm(db, occasion, settings.bootstrap_admin):
        named = (
            settings.bootstrap_admin if is_builtin(settings.bootstrap_admin) else f"group:{settings.bootstrap_admin}"
        )
        logger.warning(
            "MUNIMENT_BOOTSTRAP_ADMIN (%s) is ignored: the realm has begun, and says itself who administers it.", named
        )
    return None


def _public_url(settings: Settings) -> str:
    return (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")


def _check_policies(realm: Realm) -> None:
    """Refuse to start when a policy uses an attribute that no issuer maps any more."""
    for policy in realm.policies.values():
        try:
            checked(policy, schema=realm.schema, environments=realm.environment_names)
        except InvalidPolicy as refused:
            fault = (refused.faults[0].message if refused.faults else refused.detail).rstrip(".")
            raise CannotStart(
                f"The policy {policy.id} does not fit the attributes that MUNIMENT_ISSUERS maps: {fault}. "
                "Map the attribute again, change the policy with the release before, then start again."
            ) from refused


async def _keep_house(db: Database) -> None:
    """Make room in the ledger before it is needed."""
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        try:
            async with db.begin() as tx:
                await ledger_store.ensure_partitions(tx, datetime.now(UTC).date())
        except Problem as problem:
            logger.warning("The ledger's partitions could not be made: %s", problem.detail)


async def _refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - Starlette's types say Exception
    if isinstance(problem, Unconfirmed):
        logger.error("The engine and Cedar do not decide alike.", exc_info=problem)
    return answer(problem, request.url.path)


async def _misread(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette's types say Exception
    faults = [Fault(_place(each["loc"]), _words(each)) for each in error.errors()]
    said = Invalid("The request does not say what it should; each place is listed.", faults)
    return answer(said, request.url.path)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's types say Exception
    match error.status_code:
        case 404 if pages.is_page(request.url.path):
            return pages.refusal(request, NotFound())
        case 404:
            return answer(NotFound(), request.url.path)
        case 405:
            said = WrongMethod(f"This address does not take {request.method} requests.")
            response = answer(said, request.url.path)
            response.headers.update(error.headers or {})
            return response
        case _:
            return answer(Invalid(f"The request cannot be read: {error.detail}."), request.url.path)


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours: logged in full, told without any of it."""
    logger.error("A request failed.", exc_info=error)
    failed = Failed("Something in Muniment failed; the operator's log says what. Nothing was given.")
    response = answer(failed, request.url.path)
    # This is outside of the middleware that names every other answer.
    name_answer(response.headers, request.scope)
    return response


def _place(loc: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in (loc[1:] if loc and loc[0] in {"body", "query", "path", "header"} else loc))


def _words(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "There is no such field; take it away."
    return str(error["msg"]).removeprefix("Value error, ")


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "at": {"type": "string"},
                    "message": {"type": "string"},
                    "line": {"type": "integer"},
                    "column": {"type": "integer"},
                },
            },
        },
    },
}
