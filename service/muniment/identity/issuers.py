"""Who may vouch for a subject: the OpenID Connect issuers that the settings name.

Exactly one issuer is the default; its ids and groups are written bare. Those of any
other issuer are written ``name|id``, so two issuers never speak about one subject.
The settings are read strictly: a field that is misspelt would otherwise be a rule
that silently does not hold.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Never, cast

import httpx

from muniment.core.problems import CannotStart

#: Every signature algorithm that an issuer may be allowed: none with a shared secret, none without a key.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip

#: What an issuer may sign with unless the settings say otherwise.
USUAL_ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
#: RFC 6749, 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
#: What the Cedar schema takes as a name.
_ATTRIBUTE = re.compile(r"[a-z][a-zA-Z0-9_]{0,63}")
#: Words of Cedar, and the attribute that every subject has already.
_TAKEN = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "issuer"})
_LONGEST_LEEWAY = 300

#: What clients ask for when they sign somebody in, unless the settings say otherwise.
USUAL_SCOPES = ("openid", "offline_access")

AttributeType = Literal["string", "long", "boolean", "set"]


@dataclass(frozen=True, slots=True)
class AttributeClaim:
    """Where an attribute comes from, and the type that it has in the Cedar schema."""

    claim: str
    type: AttributeType


@dataclass(frozen=True, slots=True)
class ServicesWhere:
    """Tokens that carry all these claims speak for services, all others for users."""

    claims: Mapping[str, str]


Speakers = Literal["users", "services"] | ServicesWhere


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, as the settings describe it. ``issuer`` is its exact URL."""

    name: str
    issuer: str
    audience: str
    default: bool = False
    kind: Speakers = "users"
    client_id: str | None = None
    scopes: tuple[str, ...] = USUAL_SCOPES
    resource: str | None = None
    subject_claim: str = "sub"
    groups_claim: str | None = "groups"
    attributes: Mapping[str, AttributeClaim] = field(default_factory=lambda: MappingProxyType({}))
    algorithms: tuple[str, ...] = USUAL_ALGORITHMS
    leeway_seconds: int = 30


def issuers_from(settings: str | Sequence[object]) -> tuple[Issuer, ...]:
    """The issuers in ``MUNIMENT_ISSUERS``: its JSON text, or the list that a TOML file gave.

    Raises :class:`CannotStart` with the place and the field that is wrong.
    """
    given = _list_in(settings) if isinstance(settings, str) else settings
    issuers = tuple(_issuer(f"issuer {number}", each) for number, each in enumerate(given, start=1))
    _refuse_twins("name", [issuer.name for issuer in issuers])
    _refuse_twins("issuer URL", [issuer.issuer.rstrip("/") for issuer in issuers])
    defaults = [issuer.name for issuer in issuers if issuer.default]
    if len(defaults) != 1:
        found = f"{len(defaults)} have it ({', '.join(defaults)})" if defaults else "none has it"
        _refuse(f'exactly one issuer must have "default": true, and {found}')
    _refuse_attributes_of_two_types(issuers)
    return issuers


def safe_address(url: str, *, plain_on_loopback: bool = True) -> bool:
    """Whether keys may be fetched from there: HTTPS, or plain HTTP that stays on this machine."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    if not parsed.host or parsed.userinfo or parsed.fragment:
        return False
    return parsed.scheme == "https" or (plain_on_loopback and parsed.scheme == "http" and _loopback(parsed.host))


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _list_in(text: str) -> Sequence[object]:
    try:
        given = json.loads(text, object_pairs_hook=_members_once)
    except json.JSONDecodeError as error:
        _refuse(f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    if not isinstance(given, list):
        _refuse('it must be a JSON list of issuers: [{"name": …, "issuer": …, "audience": …, "default": true}]')
    return given


def _members_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _refuse_twins("field", [name for name, _ in pairs])
    return dict(pairs)


def _issuer(where: str, given: object) -> Issuer:
    fields = _Fields(where, given)
    name = fields.text("name")
    if not _NAME.fullmatch(name):
        fields.refuse("name", "must be a lower-case letter, then letters, digits, _ or -; at most 50 in all")
    fields.where = f"issuer “{name}”"
    url = fields.text("issuer")
    if not safe_address(url) or "?" in url or "#" in url:
        fields.refuse("issuer", "must be an https:// URL without a query (http:// only for this machine itself)")
    issuer = Issuer(
        name=name,
        issuer=url,
        audience=fields.text("audience"),
        default=fields.flag("default"),
        kind=_speakers(fields),
        client_id=fields.text_or_none("client_id", None),
        scopes=_scopes(fields),
        resource=fields.text_or_none("resource", None),
        subject_claim=fields.text("subject_claim", "sub"),
        groups_claim=fields.text_or_none("groups_claim", "groups"),
        attributes=_attributes(fields),
        algorithms=_algorithms(fields),
        leeway_seconds=fields.seconds("leeway_seconds", 30, _LONGEST_LEEWAY),
    )
    fields.end()
    return issuer


def _speakers(fields: _Fields) -> Speakers:
    given = fields.take("kind", "users")
    if given == "users":
        return "users"
    if given == "services":
        return "services"
    if not isinstance(given, Mapping):
        fields.refuse("kind", 'must be "users", "services" or {"services_where": {claim: value}}')
    inner = _Fields(f"{fields.where}, kind", given)
    claims = inner.mapping("services_where")
    inner.end()
    if not claims or not all(isinstance(value, str) and value for value in claims.values()):
        inner.refuse("services_where", "must name at least one claim, and each value must be a text")
    return ServicesWhere(MappingProxyType(cast("dict[str, str]", dict(claims))))


def _attributes(fields: _Fields) -> Mapping[str, AttributeClaim]:
    found: dict[str, AttributeClaim] = {}
    for name, given in fields.mapping("attributes").items():
        if not _ATTRIBUTE.fullmatch(name) or name in _TAKEN:
            fields.refuse(
                "attributes",
                f"can't have an attribute “{name}”: a name begins with a small letter, goes on with letters, digits "
                f"and _, has at most 64 in all, and is neither “issuer” nor a word of Cedar",
            )
        inner = _Fields(f"{fields.where}, attribute “{name}”", given)
        claim, type_ = inner.text("claim"), inner.text("type")
        if type_ not in {"string", "long", "boolean", "set"}:
            inner.refuse("type", "must be string, long, boolean or set")
        inner.end()
        found[name] = AttributeClaim(claim, cast("AttributeType", type_))
    return MappingProxyType(found)


def _algorithms(fields: _Fields) -> tuple[str, ...]:
    given = fields.take("algorithms", list(USUAL_ALGORITHMS))
    if not isinstance(given, list) or not given or any(name not in ALGORITHMS for name in given):
        fields.refuse("algorithms", f"must be a list of some of {', '.join(ALGORITHMS)}")
    return tuple(given)


def _scopes(fields: _Fields) -> tuple[str, ...]:
    given = fields.take("scopes", list(USUAL_SCOPES))
    if not isinstance(given, list) or not all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in given):
        fields.refuse("scopes", "must be a list of scopes, each without spaces")
    return tuple(given)


def _refuse_attributes_of_two_types(issuers: Sequence[Issuer]) -> None:
    types: dict[str, str] = {}
    for issuer in issuers:
        for name, attribute in issuer.attributes.items():
            if types.setdefault(name, attribute.type) != attribute.type:
                _refuse(f"attribute “{name}” is a {types[name]} and a {attribute.type}; policies need one type")


def _refuse_twins(what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            _refuse(f"the {what} “{value}” stands there twice")


def _refuse(what: str) -> Never:
    message = f"MUNIMENT_ISSUERS can't be used: {what}. Correct it, and see what is in force with: muniment config"
    raise CannotStart(message)


_ABSENT = object()


class _Fields:
    """The fields of one object in the settings. Each is taken once; what is left over is refused by name."""

    def __init__(self, where: str, given: object) -> None:
        self.where = where
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            _refuse(f"{where} must be an object with named fields")
        self._left: dict[str, object] = dict(given)

    def refuse(self, name: str, what: str) -> Never:
        _refuse(f"in {self.where}, “{name}” {what}")

    def take(self, name: str, default: object = _ABSENT) -> object:
        value = self._left.pop(name, default)
        if value is _ABSENT:
            self.refuse(name, "is missing")
        return value

    def text(self, name: str, default: object = _ABSENT) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or not value or not value.isprintable():
            self.refuse(name, "must be a text")
        return value

    def text_or_none(self, name: str, default: str | None) -> str | None:
        if self._left.get(name, default) is None:
            self._left.pop(name, None)
            return None
        return self.text(name, default)

    def flag(self, name: str) -> bool:
        value = self.take(name, default=False)
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false")
        return value

    def seconds(self, name: str, default: int, most: int) -> int:
        value = self.take(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self.refuse(name, f"must be a whole number of seconds from 0 to {most}")
        return value

    def mapping(self, name: str) -> Mapping[str, object]:
        value = self.take(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
            self.refuse(name, "must be an object with named fields")
        return value

    def end(self) -> None:
        if self._left:
            _refuse(f"{self.where} has a field “{min(self._left)}”, which Muniment does not know")
