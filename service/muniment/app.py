"""Wires the house: settings in, a running service out. The only place that knows every floor."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from muniment.api import (
    authzen,
    beginnings,
    break_glass,
    catalogs,
    changes,
    datasets,
    deputies,
    domains,
    environments,
    explanations,
    exports,
    figures,
    following,
    grants,
    groups,
    health,
    holds,
    keys,
    ledger,
    lineages,
    lint,
    measuring,
    notices,
    policies,
    preflights,
    provenance,
    reads,
    realm,
    requests,
    reviews,
    runs,
    schema,
    scim,
    seals,
    starters,
    subjects,
    unusual,
    uses,
    views,
    webhooks,
    who,
)
from muniment.api.asking import Doorkeeper
from muniment.api.identifiers import new_id
from muniment.api.limits import Gate
from muniment.api.logs import Form, configure
from muniment.api.metrics import Shared, registry
from muniment.api.problems import MEDIA_TYPE, Failed, WrongMethod, answer
from muniment.api.reading_requests import ReadRequests, name_answer
from muniment.api.short_way import Repeats, ShortWay
from muniment.api.watching import Requests, WatchRequests
from muniment.core.dataset_types import KnownTypes
from muniment.core.groups import is_builtin
from muniment.core.keys import RANDOM_BYTES, Pepper
from muniment.core.leases import Lengths
from muniment.core.occasions import Occasion
from muniment.core.policies import checked
from muniment.core.problems import (
    CannotStart,
    Fault,
    Invalid,
    InvalidPolicy,
    NotFound,
    Problem,
    Unavailable,
    Unconfirmed,
)
from muniment.core.provisioning import Directory
from muniment.core.realm import Realm
from muniment.core.schema import schema_text
from muniment.core.starters.offers import shelf
from muniment.core.starters.rendering import check_templates
from muniment.core.subjects import ITSELF
from muniment.core.tracing import UNTRACED, Tracing
from muniment.flows.begin_realm import begin_realm, offer_beginning
from muniment.flows.break_glass import EmergencyKey, make_emergency_key
from muniment.flows.follow_ledger import Followers
from muniment.flows.house import House, aside
from muniment.flows.replay_decisions import Archive
from muniment.flows.seal_ledger import make_ready
from muniment.flows.send_notices import go_round, leave
from muniment.flows.send_webhooks import Sender
from muniment.flows.sign_in import Entrance
from muniment.identity import secret
from muniment.identity.bearer import Bearer
from muniment.identity.browser import Providers
from muniment.identity.envelopes import Envelopes
from muniment.identity.issuers import doubts
from muniment.identity.notices import Links
from muniment.identity.seal_keys import SealKeys
from muniment.identity.signing import Signer
from muniment.post.webhooks import Messenger
from muniment.safe_start import refuse_danger
from muniment.settings import Settings, read, surroundings, traced
from muniment.store import embedded, issuers, ledger_order, migrations, roles
from muniment.store import keys as keys_store
from muniment.store import ledger as ledger_store
from muniment.store.committer import Committer
from muniment.store.databases import Database
from muniment.store.keys import Keys
from muniment.store.ledger_tail import Tail
from muniment.store.present import Present
from muniment.store.realms import Realms
from muniment.store.refusals import Refusals
from muniment.store.roster import Roster
from muniment.store.starters import Starters
from muniment.store.subjects import Sightings
from muniment.web import account, home, pages, sign_in
from muniment.web import audit as audit_pages
from muniment.web import beginnings as beginning_pages
from muniment.web import datasets as dataset_pages
from muniment.web import declare as declare_pages
from muniment.web import deputies as deputy_pages
from muniment.web import domains as domain_pages
from muniment.web import environments as environment_pages
from muniment.web import grants as grant_pages
from muniment.web import groups as group_pages
from muniment.web import importing as importing_pages
from muniment.web import notices as notice_pages
from muniment.web import policies as policy_pages
from muniment.web import requests as request_pages
from muniment.web import reviews as review_pages
from muniment.web import rules as rule_pages
from muniment.web import starters as starter_pages

if TYPE_CHECKING:
    from muniment.api.traces import Traces

logger = logging.getLogger("muniment")

#: How often a worker makes sure that the ledger has room for the months to come.
_HOUSEKEEPING_SECONDS = 6 * 3600
_HOUSEKEEPING_AGAIN_SECONDS = 60
_FETCH_SECONDS = 5

#: How often a worker looks whether there is something to tell people, and how long a stop waits for the last mail.
_TELL_SECONDS = 2
_LAST_MAIL_SECONDS = 5
#: How long a worker waits for PostgreSQL before it looks again.
_AGAIN_SECONDS = 0.5
#: How often a worker looks whether the platform team's folder of starters was changed.
_REREAD_SECONDS = 2.0
#: How often a worker looks how far the database has come.
_LOOK_SECONDS = 1.0

#: How long a thread goes on before the one that answers has its turn. With Python's 5 ms, one that decides or judges a
#: change leaves it a third of the processor; with this, half (decision 0052).
_TURN_SECONDS = 0.001


@dataclass(frozen=True)
class Wired:
    """Everything one worker runs on, started; closed by :func:`wired`."""

    house: House
    doorkeeper: Doorkeeper
    gate: Gate
    entrance: Entrance
    bearer: Bearer


class Service(FastAPI):
    """The routes, with what stands before them all."""

    before: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self.before is None:
            await super().__call__(scope, receive, send)
        else:
            await self.before(scope, receive, send)

    async def ordinarily(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the routes."""
        await super().__call__(scope, receive, send)


def from_environment() -> FastAPI:
    """The service as the environment configures it: what each worker process runs."""
    settings = read()
    configure(Form(settings.log_format))
    refuse_danger(settings, surroundings())
    return create_app(settings, database_url(settings), alone=True)


def database_url(settings: Settings) -> str:
    """The database in force: the configured one, or the embedded one that runs already."""
    url = settings.database_url or embedded.url_if_running(settings.data_dir)
    if url is None:
        raise CannotStart("The embedded PostgreSQL does not run. Start it with the service: muniment serve")
    return url


def create_app(settings: Settings, url: str, *, alone: bool = False) -> FastAPI:
    """The service, ready to be served; what it needs is opened when its lifespan begins.

    ``alone`` says that nothing else happens in this process.
    """
    traced_by = _traces()
    counted, traces = Requests(), traced_by() if traced_by is not None else None

    @asynccontextmanager
    async def housed() -> AsyncIterator[Database]:
        async with AsyncExitStack() as stack:
            parts = await _as_soon_as_possible(stack, lambda: wired(settings, url, traces or UNTRACED))
            app.state.house = parts.house
            app.state.doorkeeper = parts.doorkeeper
            app.state.gate = parts.gate
            app.state.entrance = parts.entrance
            short_way.open(parts.house, parts.gate)
            app.state.sender = await stack.enter_async_context(_sending(parts.house))
            if settings.watchers.any:
                counting = measuring.measuring(
                    settings.metrics_path, parts.house, parts.bearer, counted, parts.gate, repeats
                )
                app.state.measuring = await stack.enter_async_context(counting)
            yield parts.house.db

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if traces is not None:
                stack.push_async_callback(aside, traces.close)
            await stack.enter_async_context(_standing(housed))
            if alone:
                sys.setswitchinterval(_TURN_SECONDS)
                await aside(_leave_uncollected)
            yield

    # Where each request is told of or followed, one that is given its answer again is so, too.
    outermost = traces is None and not settings.access_log
    repeats = Repeats()
    short_way = ShortWay(repeats, counted if outermost else None)
    app = Service(
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
    app.state.followers, app.state.leaving = Followers(), _asked_to_stop
    app.state.repeats = repeats
    app.state.watchers, app.state.measuring = settings.watchers, None
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
        lineages,
        domains,
        environments,
        groups,
        policies,
        grants,
        changes,
        realm,
        requests,
        deputies,
        lint,
        reviews,
        subjects,
        unusual,
        figures,
        reads,
        views,
        exports,
        holds,
        seals,
        ledger,
        following,
        notices,
        schema,
        who,
        authzen,
        break_glass,
        beginnings,
        keys,
        webhooks,
        scim,
        starters,
    ):
        app.include_router(door.router)
    app.include_router(health.router)
    app.include_router(measuring.router)
    for page in (
        pages,
        sign_in,
        home,
        account,
        dataset_pages,
        # Before the pages of one dataset, whose name their addresses could be.
        importing_pages,
        domain_pages,
        environment_pages,
        declare_pages,
        beginning_pages,
        grant_pages,  # Their addresses begin as those of policies do.
        group_pages,
        policy_pages,
        rule_pages,
        notice_pages,
        deputy_pages,
        request_pages,
        audit_pages,
        review_pages,
        starter_pages,
    ):
        app.include_router(page.router)
    app.add_middleware(ReadRequests, is_page=pages.is_page, on_page=pages.refusal)
    if outermost:
        app.before = short_way.around(app.ordinarily)
    else:
        app.add_middleware(short_way.around)
    if traces is not None:
        traces.follow(app)
    app.add_middleware(WatchRequests, requests=counted, told=settings.access_log)
    return app


async def prepare(settings: Settings, url: str) -> str | None:
    """What happens once at each start of the service, before any worker: refuse to start, or make ready.

    Gives the link by which somebody can become the first administrator, as long as nobody is.
    """
    for doubt in doubts(settings.issuers):
        logger.warning("%s", doubt)
    _traces()  # what it lacks is said here: of several workers, each would die of it unheard
    db = Database.open(url)
    try:
        await migrations.require_current(db)
        async with db.begin() as tx:
            _refuse_surplus(settings, await roles.surplus(tx))
            await issuers.hold(tx, {issuer.name: issuer.issuer for issuer in settings.issuers})
            await ledger_store.ensure_partitions(tx, datetime.now(UTC).date())
        await make_ready(db, SealKeys(settings.seal_key_path) if settings.sealing else None)
        link = await _begin(db, settings)
        await _check_secret(db, settings)
        _check_policies(await Realms(db, schema_text(settings.attributes)).current())
        _types(settings)
        _check_starters(settings)
        if settings.smtp is None:
            logger.info("No mails are sent: MUNIMENT_SMTP is not set. People find their notices in /v1/notices alone.")
        return link
    finally:
        await db.close()


@asynccontextmanager
async def wired(settings: Settings, url: str, tracing: Tracing = UNTRACED) -> AsyncIterator[Wired]:
    """What one worker runs on: opened, started, and closed in the end."""
    db = Database.open(url)
    committer, refusals = Committer(db, tracing=tracing), Refusals(db)
    try:
        await migrations.require_current(db)
        async with db.begin() as tx:
            # Before anything is written: a worker may be the first to meet a database that was restored from a dump.
            await ledger_order.note_cluster(tx)
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
                aclosing(Messenger(settings.webhook_networks)) as messenger,
            ):
                present = Present(db)
                held_keys = Keys(db, _pepper(settings))
                roster, sightings = Roster(db), Sightings(db)
                doorkeeper = Doorkeeper(bearer, held_keys, present, roster, sightings, refusals)
                hours = settings.session_hours.as_core()
                entrance = Entrance(db, providers, present, roster, sightings, refusals, hours)
                realms = Realms(db, schema_text(settings.attributes), present, ahead=True)
                # Nobody's first request waits for all of it to be loaded.
                await realms.current()
                gate = Gate(settings.limits, refusals.note, settings.most_at_once)
                house = _house(settings, db, held_keys, realms, committer, tracing, present, messenger)
                async with _telling(house), _rereading(house.starters):
                    yield Wired(house, doorkeeper, gate, entrance, bearer)
        finally:
            keeping.cancel()
            await refusals.stop()
            await committer.stop()
    finally:
        await db.close()


@asynccontextmanager
async def _sending(house: House) -> AsyncIterator[Sender]:
    """Rows are sent to webhooks as long as the block lasts."""

    def occasion() -> Occasion:
        at = datetime.now(UTC)
        return Occasion(ITSELF, at, new_id(at), client="muniment webhooks")

    sender = Sender(house, uuid4(), occasion, secrets.SystemRandom().random)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


@asynccontextmanager
async def _standing(housed: Callable[[], AbstractAsyncContextManager[Database]]) -> AsyncIterator[None]:
    """A house stands as long as the block lasts; when its database is replaced, by a backup, another one is built.

    All that a house remembers is of the database that was. Until the new one stands, nothing is answered.
    """
    leaving, begun = asyncio.Event(), asyncio.Event()

    async def keep() -> None:
        while not leaving.is_set():
            try:
                async with housed() as db:
                    begun.set()
                    while not (db.replaced.is_set() or leaving.is_set()):
                        with suppress(Unavailable):
                            await db.look()
                        await _either(db.replaced, leaving, seconds=_LOOK_SECONDS)
            except Problem as problem:
                if not begun.is_set():
                    raise
                logger.error("This worker cannot serve, and tries again: %s", problem.detail)  # noqa: TRY400  told in words
            except Exception:
                # A database that is just being restored may have any shape.
                if not begun.is_set():
                    raise
                logger.exception("This worker cannot serve, and tries again.")
            if not leaving.is_set():
                logger.warning("The database was replaced by another: everything is read anew.")
                await asyncio.sleep(_AGAIN_SECONDS)

    keeping = asyncio.create_task(keep(), name="house")
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({keeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if begun.is_set():
            yield
    finally:
        leaving.set()
        waiting.cancel()
        await keeping


async def _either(one: asyncio.Event, other: asyncio.Event, *, seconds: float) -> None:
    waiting = [asyncio.create_task(each.wait()) for each in (one, other)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
    finally:
        for task in waiting:
            task.cancel()


async def _as_soon_as_possible(stack: AsyncExitStack, parts: Callable[[], AbstractAsyncContextManager[Wired]]) -> Wired:
    """What a worker runs on; one that is started while PostgreSQL is away waits for it.

    It would fail otherwise, and a worker that fails before it ever served ends the whole service.
    """
    while True:
        try:
            return await stack.enter_async_context(parts())
        except Unavailable as away:
            if _asked_to_stop():
                raise
            logger.warning("This worker cannot serve yet, and tries again: %s", away.detail)
            await asyncio.sleep(_AGAIN_SECONDS)


def _asked_to_stop() -> bool:
    """Whether the server has heard a signal to stop: it waits for its application to begin even so."""
    handler = signal.getsignal(signal.SIGTERM)
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))


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


def _house(
    settings: Settings,
    db: Database,
    held_keys: Keys,
    realms: Realms,
    committer: Committer,
    tracing: Tracing,
    present: Present,
    messenger: Messenger,
) -> House:
    hours = settings.lease_hours
    return House(
        db=db,
        keys=held_keys,
        realms=realms,
        ledger=committer,
        types=_types(settings),
        starters=Starters(settings.starters, datetime.now(UTC)),
        signer=Signer(secret.read(settings.secret_path), _public_url(settings)),
        links=Links.under(secret.read(settings.secret_path)),
        mail=settings.smtp,
        lengths=Lengths(users=hours.users, services=hours.services),
        longest_key=timedelta(days=settings.key_days),
        escalates_after=timedelta(hours=settings.escalation_hours),
        breakers=settings.break_glass,
        tracing=tracing,
        present=present,
        tail=Tail(db),
        envelopes=Envelopes(secret.read(settings.secret_path)),
        messenger=messenger,
    )


def _leave_uncollected() -> None:
    """Keep what is there from the start out of the garbage collector's way.

    The realm is millions of objects that stay; to look through them takes a third of a second,
    in which nothing else happens, again and again (decision 0047).
    """
    gc.collect()
    gc.freeze()


def _traces() -> type[Traces] | None:
    """What follows requests, where OpenTelemetry's variables say so; refuses where it is not installed."""
    if not traced():
        return None
    try:
        from muniment.api.traces import Traces  # noqa: PLC0415 - imported by nobody who does not trace
    except ImportError as missing:
        raise CannotStart(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and what sends them is not installed: "
            "pip install 'muniment[telemetry]'"
        ) from missing
    return Traces


@contextmanager
def metrics_served(settings: Settings) -> Iterator[None]:
    """What all workers count, at the address of its own that the settings give it, as long as the block lasts."""
    if not settings.watchers.any:
        yield
        return
    shared = Shared(settings.metrics_path).fresh()
    if settings.watchers.address is None:
        yield
        return
    host, port = settings.watchers.address
    try:
        server, thread = start_http_server(port, host, registry(shared))
    except OSError as taken:
        raise CannotStart(f"MUNIMENT_METRICS: {settings.metrics} cannot be listened at: {taken.strerror}.") from taken
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pepper(settings: Settings) -> Pepper:
    return Pepper(secret.read(settings.secret_path))


def _refuse_surplus(settings: Settings, surplus: Sequence[str]) -> None:
    """Refuse a role that could change what is recorded, where the settings say that there are two.

    Where one role does everything, as before there were two, it is only said, and loudly.
    """
    if not surplus:
        return
    mends = "What mends it: muniment database roles."
    if settings.database_owner_url is not None and not settings.insecure:
        raise CannotStart(
            f"{' '.join(surplus)} {mends} To start nevertheless, where it does no harm: MUNIMENT_INSECURE=true"
        )
    logger.critical(
        "WHOEVER HOLDS THIS SERVICE'S DATABASE ROLE CAN CHANGE WHAT IS RECORDED: %s %s", " ".join(surplus), mends
    )


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


def _check_starters(settings: Settings) -> None:
    """Refuse to start with templates of which no project could be made."""
    try:
        check_templates(shelf(settings.starters).newest)
    except Invalid as refused:
        raise CannotStart(f"MUNIMENT_STARTERS: {refused.detail} Mend it, then start again.") from refused


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
    """Make room in the ledger before it is needed; soon again where others held the locks for it."""
    pause: float = _HOUSEKEEPING_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = _HOUSEKEEPING_SECONDS
        try:
            async with db.begin() as tx:
                await ledger_store.ensure_partitions(tx, datetime.now(UTC).date())
        except Problem as problem:
            logger.warning("The ledger's partitions could not be made: %s", problem.detail)
            pause = _HOUSEKEEPING_AGAIN_SECONDS


@asynccontextmanager
async def _rereading(held: Starters) -> AsyncIterator[None]:
    """As long as this lasts, what the platform team changes in its folder is offered soon after."""
    if held.standing.folder is None:
        yield
        return
    if held.standing.refused:
        logger.error("MUNIMENT_STARTERS: %s Until it is mended, Muniment's own are offered.", held.standing.refused)
    reading = asyncio.create_task(_reread(held), name="starters")
    try:
        yield
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def _reread(held: Starters) -> None:
    while True:
        await asyncio.sleep(_REREAD_SECONDS)
        try:
            if not await aside(partial(held.look, datetime.now(UTC))):
                continue
        except OSError as error:
            logger.warning("MUNIMENT_STARTERS cannot be looked at: %s", error)
            continue
        if held.standing.refused:
            logger.error("MUNIMENT_STARTERS: %s What was offered before stays.", held.standing.refused)
        else:
            logger.info("Projects are started with version %s of the templates.", held.newest.version)
        for number in held.standing.rewritten:
            logger.warning("MUNIMENT_STARTERS: version %d was changed after it was offered. Make a new one.", number)


@asynccontextmanager
async def _telling(house: House) -> AsyncIterator[None]:
    """As long as this lasts, people are told what is new, if no other worker tells them."""
    holder, stopping = uuid4(), asyncio.Event()
    telling = asyncio.create_task(_tell_on(house, holder, stopping), name="notices")
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait([telling], timeout=_LAST_MAIL_SECONDS)
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell_on(house: House, holder: UUID, stopping: asyncio.Event) -> None:
    held = False
    while not stopping.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _TELL_SECONDS)
            break
        at = datetime.now(UTC)
        try:
            held = await go_round(house, holder, at, new_id(at), stopping) is not None
        except Problem as problem:
            logger.warning("Nobody could be told what is new: %s", problem.detail)
        except Exception:
            # A fault of ours: what is to be told waits, and is tried again.
            logger.exception("Notices failed.")
    if held:
        with suppress(Problem):
            await leave(house, holder)


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
            return await pages.unrouted(request)
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
