"""Who may vouch for a subject: the OpenID Connect issuers that the settings name.

Exactly one issuer is the default; its ids and groups are written bare. Those of any
other issuer are written ``name|id``, so two issuers never speak about one subject.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

import httpx

from muniment.core import keys
from muniment.core.addresses import on_this_machine
from muniment.core.provisioning import SubjectBy
from muniment.identity.client_keys import signing_key_in
from muniment.identity.fields import Fields, refuse
from muniment.identity.workloads import Workload, doubts_about, workloads_from

#: What an issuer may sign with, unless the settings allow it less: none with a shared secret, none without a key.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
#: RFC 6749, 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
#: What the Cedar schema takes as a name.
_ATTRIBUTE = re.compile(r"[a-z][a-zA-Z0-9_]{0,63}")
#: Words of Cedar, and the attribute that every subject has already.
_TAKEN = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "issuer"})
_LONGEST_LEEWAY = 300
#: Only asking again learns of a revocation.
_LONGEST_REMEMBERED = 30

#: What Muniment's own pages ask for: who signed in, and the claims that say more of them.
BROWSER_SCOPES = ("openid", "profile")

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
class Introspection:
    """How an issuer is asked about tokens that say nothing themselves (RFC 7662).

    ``clients`` are those to whom a token may have been given that names no audience. ``access_tokens_only`` is an
    issuer that speaks there of no other tokens, and need not say of which kind one is.
    """

    client_id: str
    client_secret: str = field(repr=False)
    endpoint: str | None = None
    auth: Literal["basic", "post"] = "basic"
    prefix: str = ""
    clients: frozenset[str] = frozenset()
    remembered_seconds: int = 30
    access_tokens_only: bool = False


@dataclass(frozen=True, slots=True)
class BrowserClient:
    """The client that Muniment's own pages are to the issuer. Without a secret and a key it is a public one.

    ``userinfo`` also asks the issuer's userinfo endpoint, where ID tokens do not hold every claim. ``auth`` is how the
    secret is sent; None is as the issuer lists it.
    """

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = BROWSER_SCOPES
    userinfo: bool = False
    client_key: str | None = field(default=None, repr=False)
    auth: Literal["basic", "post"] | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, as the settings describe it. ``issuer`` is its exact URL."""

    name: str
    issuer: str
    audience: str
    default: bool = False
    kind: Speakers = "users"
    client_id: str | None = None
    #: None: those that make a sign-in last, as far as the provider knows them.
    scopes: tuple[str, ...] = ()
    resource: str | None = None
    subject_claim: str = "sub"
    scim_subject: SubjectBy = SubjectBy.USER_NAME
    groups_claim: str | None = "groups"
    attributes: Mapping[str, AttributeClaim] = field(default_factory=lambda: MappingProxyType({}))
    algorithms: tuple[str, ...] = ALGORITHMS
    leeway_seconds: int = 30
    browser: BrowserClient | None = None
    introspection: Introspection | None = None
    workloads: tuple[Workload, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether what is asked of it, and what it says, crosses the network in the open."""
        return not safe_address(self.issuer)


def issuers_from(settings: str | Sequence[object], *, plain_anywhere: bool = False) -> tuple[Issuer, ...]:
    """The issuers in ``MUNIMENT_ISSUERS``: its JSON text, or the list that a TOML file gave.

    Plain HTTP is for this machine itself; ``plain_anywhere`` is what ``MUNIMENT_INSECURE`` says.

    Raises :class:`CannotStart` with the place and the field that is wrong.
    """
    given = _list_in(settings) if isinstance(settings, str) else settings
    issuers = tuple(_issuer(f"issuer {number}", each, plain_anywhere) for number, each in enumerate(given, start=1))
    _refuse_twins("name", [issuer.name for issuer in issuers])
    _refuse_twins("issuer URL", [issuer.issuer.rstrip("/") for issuer in issuers])
    defaults = [issuer.name for issuer in issuers if issuer.default]
    if len(defaults) != 1:
        found = f"{len(defaults)} have it ({', '.join(defaults)})" if defaults else "none has it"
        refuse(f'exactly one issuer must have "default": true, and {found}')
    _refuse_attributes_of_two_types(issuers)
    return issuers


def doubts(issuers: Sequence[Issuer]) -> tuple[str, ...]:
    """What the settings of issuers may say, and most likely do not mean: a sentence each."""
    found: list[str] = []
    for issuer in issuers:
        where = f"Issuer “{issuer.name}”"
        if issuer.audience in {issuer.client_id, issuer.browser and issuer.browser.client_id}:
            found.append(
                f"{where} has one text as audience and as client_id, so ID tokens are made for this service too. "
                "Give the service an audience of its own."
            )
        found += [f"{where}: {doubt}" for doubt in doubts_about(issuer.issuer, issuer.workloads)]
    return tuple(found)


def safe_address(url: str, *, plain_on_loopback: bool = True, plain_anywhere: bool = False) -> bool:
    """Whether keys may be fetched from there: HTTPS, or plain HTTP that stays on this machine."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    if not parsed.host or parsed.userinfo or parsed.fragment:
        return False
    if parsed.scheme == "http":
        return plain_anywhere or (plain_on_loopback and on_this_machine(parsed.host))
    return parsed.scheme == "https"


def _list_in(text: str) -> Sequence[object]:
    fault = ""
    given: object = None
    try:
        given = json.loads(text, object_pairs_hook=_members_once)
    except json.JSONDecodeError as error:  # it carries the whole text, and secrets with it: leave it here
        fault = f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    if fault:
        refuse(fault)
    if not isinstance(given, list):
        refuse('it must be a JSON list of issuers: [{"name": …, "issuer": …, "audience": …, "default": true}]')
    return given


def _members_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _refuse_twins("field", [name for name, _ in pairs])
    return dict(pairs)


def _issuer(where: str, given: object, plain_anywhere: bool) -> Issuer:  # noqa: FBT001
    fields = Fields(where, given)
    name = fields.text("name")
    if not _NAME.fullmatch(name):
        fields.refuse("name", "must be a lower-case letter, then letters, digits, _ or -; at most 50 in all")
    if name == keys.ISSUER:
        fields.refuse("name", "must be another: those who sign in with a key of Muniment's own are vouched for by it")
    fields.where = f"issuer “{name}”"
    url = fields.text("issuer")
    if not safe_address(url, plain_anywhere=plain_anywhere) or "?" in url or "#" in url:
        fields.refuse(
            "issuer",
            "must be an https:// URL without a query (http:// only for this machine itself, or where MUNIMENT_INSECURE "
            "accepts it)",
        )
    workloads = workloads_from(fields)
    issuer = Issuer(
        name=name,
        issuer=url,
        audience=fields.text("audience"),
        default=fields.flag("default"),
        kind=_speakers(fields, "services" if workloads else "users"),
        client_id=fields.text_or_none("client_id", None),
        scopes=_scopes(fields),
        resource=fields.text_or_none("resource", None),
        subject_claim=fields.text("subject_claim", "sub"),
        scim_subject=_scim_subject(fields),
        # Whoever's workloads an issuer of the whole world speaks of, their groups are theirs, unless it is said.
        groups_claim=fields.text_or_none("groups_claim", None if workloads else "groups"),
        attributes=_attributes(fields),
        algorithms=_algorithms(fields),
        leeway_seconds=fields.seconds("leeway_seconds", 30, _LONGEST_LEEWAY),
        browser=_browser(fields),
        introspection=_introspection(fields, url),
        workloads=workloads,
    )
    if workloads and issuer.kind != "services":
        fields.refuse("kind", 'must be "services" beside workloads, or be left out')
    if workloads and issuer.subject_claim != "sub":
        fields.refuse("subject_claim", "has no use beside workloads: their rules say who each is")
    if issuer.browser is not None and issuer.kind == "services":
        fields.refuse("browser", "has no use: this issuer speaks of services only, and nobody of those has a browser")
    fields.end()
    return issuer


def _speakers(fields: Fields, default: str) -> Speakers:
    given = fields.take("kind", default)
    if given == "users":
        return "users"
    if given == "services":
        return "services"
    if not isinstance(given, Mapping):
        fields.refuse("kind", 'must be "users", "services" or {"services_where": {claim: value}}')
    inner = Fields(f"{fields.where}, kind", given)
    claims = inner.mapping("services_where")
    inner.end()
    if not claims or not all(isinstance(value, str) and value for value in claims.values()):
        inner.refuse("services_where", "must name at least one claim, and each value must be a text")
    return ServicesWhere(MappingProxyType(cast("dict[str, str]", dict(claims))))


def _scim_subject(fields: Fields) -> SubjectBy:
    given = fields.text("scim_subject", SubjectBy.USER_NAME.value)
    if given not in set(SubjectBy):
        fields.refuse("scim_subject", 'must be "userName" or "externalId"')
    return SubjectBy(given)


def _attributes(fields: Fields) -> Mapping[str, AttributeClaim]:
    found: dict[str, AttributeClaim] = {}
    for name, given in fields.mapping("attributes").items():
        if not _ATTRIBUTE.fullmatch(name) or name in _TAKEN:
            fields.refuse(
                "attributes",
                f"can't have an attribute “{name}”: a name begins with a small letter, goes on with letters, digits "
                f"and _, has at most 64 in all, and is neither “issuer” nor a word of Cedar",
            )
        inner = Fields(f"{fields.where}, attribute “{name}”", given)
        claim, type_ = inner.text("claim"), inner.text("type")
        if type_ not in {"string", "long", "boolean", "set"}:
            inner.refuse("type", "must be string, long, boolean or set")
        inner.end()
        found[name] = AttributeClaim(claim, cast("AttributeType", type_))
    return MappingProxyType(found)


def _algorithms(fields: Fields) -> tuple[str, ...]:
    given = fields.take("algorithms", list(ALGORITHMS))
    if not isinstance(given, list) or not given or any(name not in ALGORITHMS for name in given):
        fields.refuse("algorithms", f"must be a list of some of {', '.join(ALGORITHMS)}")
    return tuple(given)


def _browser(fields: Fields) -> BrowserClient | None:
    given = fields.take("browser", None)
    if given is None:
        return None
    inner = Fields(f"{fields.where}, browser", given)
    client = BrowserClient(
        client_id=inner.text("client_id"),
        client_secret=_client_secret(inner),
        client_key=_client_key(inner),
        auth=_client_auth(inner),
        scopes=_scopes(inner, BROWSER_SCOPES),
        userinfo=inner.flag("userinfo"),
    )
    if client.client_key is not None and client.client_secret is not None:
        inner.refuse("client_key_file", "stands beside a client secret; take one away")
    if "openid" not in client.scopes:
        inner.refuse("scopes", "must have “openid”: without it nobody says who signed in")
    inner.end()
    return client


def _client_secret(fields: Fields) -> str | None:
    """The secret itself, or what stands in a file of its own; None for a public client."""
    secret, path = fields.text_or_none("client_secret", None), fields.text_or_none("client_secret_file", None)
    if secret is not None and path is not None:
        fields.refuse("client_secret", "stands beside “client_secret_file”; take one away")
    if path is None:
        return secret
    secret = _text_in(path)
    if not secret:
        fields.refuse("client_secret_file", f"names {path}, which can't be read, or is empty")
    return secret


def _client_auth(fields: Fields) -> Literal["basic", "post"] | None:
    given = fields.text_or_none("auth", None)
    if given not in {None, "basic", "post"}:
        fields.refuse("auth", 'must be "basic" or "post"')
    return cast("Literal['basic', 'post'] | None", given)


def _client_key(fields: Fields) -> str | None:
    """The text of the private key that proves who the client is, in a file of its own; None without one."""
    path = fields.text_or_none("client_key_file", None)
    if path is None:
        return None
    key = _text_in(path)
    if signing_key_in(key) is None:
        fields.refuse(
            "client_key_file",
            f"names {path}, which holds no private key that can sign: a PEM without a password or a JWK, of an RSA key "
            "of 2048 bits or more, an EC key or an Ed25519 key",
        )
    return key


def _text_in(path: str) -> str:
    """What stands in a file; nothing, if it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _scopes(fields: Fields, usual: Sequence[str] = ()) -> tuple[str, ...]:
    given = fields.take("scopes", list(usual))
    if not isinstance(given, list) or not all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in given):
        fields.refuse("scopes", "must be a list of scopes, each without spaces")
    return tuple(given)


def _introspection(fields: Fields, issuer: str) -> Introspection | None:
    given = fields.take("introspection", None)
    if given is None:
        return None
    inner = Fields(f"{fields.where}, introspection", given)
    endpoint, auth = inner.text_or_none("endpoint", None), inner.text("auth", "basic")
    if endpoint is not None and not safe_address(
        endpoint,
        plain_on_loopback=issuer.startswith("http://"),
        plain_anywhere=not safe_address(issuer),
    ):
        inner.refuse("endpoint", "must be an https:// URL (http:// only beside an issuer on this machine itself)")
    if auth not in {"basic", "post"}:
        inner.refuse("auth", 'must be "basic" or "post"')
    secret = _client_secret(inner)
    if secret is None:
        inner.refuse("client_secret", "is missing, and so is client_secret_file")
    introspection = Introspection(
        client_id=inner.text("client_id"),
        client_secret=secret,
        endpoint=endpoint,
        auth=cast("Literal['basic', 'post']", auth),
        prefix=inner.text_or_none("prefix", None) or "",
        clients=frozenset(inner.texts("clients")),
        remembered_seconds=inner.seconds("remembered_seconds", _LONGEST_REMEMBERED, _LONGEST_REMEMBERED),
        access_tokens_only=inner.flag("access_tokens_only"),
    )
    inner.end()
    return introspection


def _refuse_attributes_of_two_types(issuers: Sequence[Issuer]) -> None:
    types: dict[str, str] = {}
    for issuer in issuers:
        for name, attribute in issuer.attributes.items():
            if types.setdefault(name, attribute.type) != attribute.type:
                refuse(f"attribute “{name}” is a {types[name]} and a {attribute.type}; policies need one type")


def _refuse_twins(what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            refuse(f"the {what} “{value}” stands there twice")
