"""The sign-in provider that a service believes: found through the service, and asked for tokens.

The service says which issuers it believes (``/.well-known/muniment``), and an issuer says of itself where it gives
tokens (OpenID Connect Discovery 1.0, 4; RFC 8414, 3). What an issuer says counts only if it says it under exactly the
name that the service gave (RFC 8414, 3.3): else one provider could speak in another's name.

Secrets travel to an address here, so: HTTPS, or plain HTTP that stays on this machine; no redirect is followed; nothing
that is sent stands in a variable of a frame that an exception passes, and no answer is repeated that holds it. What is
sent is written by Authlib (``oauth.py``), which is imported when something is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from kedro_muniment import __version__, network_faults
from kedro_muniment.config import LOOPBACK
from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable, plain
from kedro_muniment.sign_in.tokens import Token

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
#: The longest answer that is read: a discovery document has some kilobytes, a token of many groups some more.
LONGEST_ANSWER: Final = 256 * 1024
#: What a provider may say of an error, in the characters of RFC 6749, 5.2, that no word needs more of.
_ERROR: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_LONGEST_SAID: Final = 300
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500
#: OpenID Connect Core 1.0, 3.1.2.1, 5.4 and 11.
_OF_PEOPLE: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
_LONGEST_LIFE: Final = timedelta(days=366)

#: Writes what is sent, and who asks, into a request.
Writing = Callable[["httpx.Request"], "httpx.Request"]
#: The status and the JSON, or why there is no answer, in words.
Answer = tuple[int, Any] | str


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer as the service describes it; ``issuer`` is its exact URL."""

    name: str
    issuer: str
    client_id: str | None
    default: bool
    scopes: tuple[str, ...]
    resource: str | None
    audience: str | None

    @property
    def scope_of_jobs(self) -> str:
        """The scopes without a person's own: a job is no person, and some providers refuse them to it."""
        return " ".join(scope for scope in self.scopes if scope not in _OF_PEOPLE)


@dataclass(frozen=True, slots=True)
class Granted:
    """A token, and when it ends, as far as that is known."""

    token: Token
    until: datetime | None
    #: What gets the next one, where the provider gives it (RFC 6749, 1.5).
    refresh: Token | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """What a token endpoint said when it gave no token (RFC 6749, 5.2), made fit for a terminal."""

    status: int
    error: str | None
    #: Not shown: a provider may repeat in it what it was sent.
    told: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a client's key signs of it: for whom, by which algorithm, for how long (RFC 7523, 3)."""

    key: Any = field(repr=False)
    algorithm: str
    audience: str
    life: timedelta


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks a provider, and what proves it, by the name that IANA's registry has for the way (RFC 8414, 7.2).

    A program on people's machines can keep no proof (RFC 8252, 8.5), and has none.
    """

    id: str | None
    method: Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] = "none"
    secret: Token | None = None
    statement: Statement | None = None


class Form:
    """A form whose values are in no ``repr``: what is posted for a token."""

    __slots__ = ("_fields", "_secrets")

    def __init__(self, **fields: str | None) -> None:
        self._fields = {name: value for name, value in fields.items() if value}
        self._secrets: tuple[Token, ...] = ()

    def __repr__(self) -> str:
        return f"Form({', '.join(self._fields)})"

    def with_secret(self, name: str, secret: Token) -> Form:
        made = Form(**self._fields, **{name: secret.revealed()})
        made._secrets = (*self._secrets, secret)
        return made

    def revealed(self) -> dict[str, str]:
        """The values, for what is about to send them; no variable should hold them."""
        return dict(self._fields)

    def is_repeated_in(self, text: str, asker: Asker) -> bool:
        """Whether the text holds one of the secrets, the asker's own among them."""
        proof = (asker.secret,) if asker.secret else ()
        return any(secret.revealed() in text for secret in (*self._secrets, *proof))


@dataclass(frozen=True, slots=True)
class Provider:
    """An issuer with what it says of itself."""

    described: Issuer
    metadata: Mapping[str, Any]

    @property
    def issuer(self) -> str:
        return self.described.issuer

    def endpoint(self, name: str) -> str:
        """The address of one of its endpoints; refused if there is none, or if a secret may not travel there."""
        address = self.metadata.get(name)
        if not isinstance(address, str):
            raise NotSignedIn(
                f"The sign-in provider {self.issuer} says no `{name}` in its discovery document, so it does not "
                "offer this way to sign in. Ask whoever runs Muniment which way there is."
            )
        return safe(address, f"the `{name}` of {self.issuer}")

    def listed(self, name: str) -> tuple[str, ...] | None:
        """What the provider says that it supports; ``None`` where it does not say."""
        given = self.metadata.get(name)
        return tuple(each for each in given if isinstance(each, str)) if isinstance(given, list) else None

    @property
    def person(self) -> Asker:
        """This program, as the provider knows it where a person signs in with it."""
        return Asker(self.described.client_id)

    def grant(self, form: Form, asker: Asker) -> Granted:
        """What the token endpoint gives for this form (RFC 6749, 5.1); refused in the provider's own words."""
        outcome = self.outcome(form, asker)
        if isinstance(outcome, Granted):
            return outcome
        if isinstance(outcome, str):
            raise Unreachable(
                f"The sign-in provider {self.issuer} cannot be reached ({outcome}). Nothing was run. Try again."
            )
        raise self._refusal(outcome)

    def outcome(self, form: Form, asker: Asker) -> Granted | Refused | str:
        """What the token endpoint answers, for those who know what to do about a refusal; text: there is no answer."""
        from kedro_muniment.sign_in import oauth

        return _outcome(oauth.token(self.endpoint("token_endpoint"), asker, form), form, asker)

    def _refusal(self, refused: Refused) -> MunimentError:
        if refused.status >= _SERVER_ERRORS or refused.status == _TOO_MANY:
            return Unreachable(
                f"The sign-in provider {self.issuer} answered {refused.status}. Nothing was run. Try again later."
            )
        if not refused.error:
            return NotSignedIn(
                f"The sign-in provider {self.issuer} answered {refused.status}, and gave no bearer token; Muniment "
                "takes no other."
            )
        told = f" ({refused.told})" if refused.told else ""
        return NotSignedIn(
            f"The sign-in provider {self.issuer} gave no token: {refused.error}{told}. {_mend(refused.error)}"
        )


def described(url: str) -> tuple[Issuer, ...]:
    """The issuers that the service at this address believes."""
    answer = asked("GET", safe(f"{url}/.well-known/muniment", "Muniment's address"))
    if isinstance(answer, str):
        raise Unreachable(f"Muniment cannot be reached at {url} ({answer}). Nothing was run. Check the address.")
    status, body = answer
    listed = body.get("issuers") if isinstance(body, dict) else None
    if status != _OK or not isinstance(listed, list):
        raise Unreachable(
            f"{url} answered {status}, and not as Muniment does. Check the address "
            "(`url:` in muniment.yml, or MUNIMENT_URL)."
        )
    return tuple(_issuer(each) for each in listed if isinstance(each, dict) and isinstance(each.get("issuer"), str))


def chosen(url: str, issuer: str | None = None) -> Issuer:
    """The service's default issuer, or the one of exactly this URL."""
    known = described(url)
    for each in known:
        if each.issuer == issuer or (issuer is None and each.default):
            return each
    if issuer is None:
        raise NotSignedIn(f"Muniment at {url} names no sign-in provider. Ask whoever runs it how to sign in.")
    raise NotSignedIn(
        f"Muniment at {url} does not believe the issuer {plain(issuer)}, letter by letter. It believes: "
        f"{', '.join(plain(each.issuer) for each in known) or 'none'}."
    )


def discovered(issuer: Issuer) -> Provider:
    """What the issuer says of itself: OpenID Connect's document, or where there is none RFC 8414's."""
    safe(issuer.issuer, "the issuer's address")
    parts = urlsplit(issuer.issuer)
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    addresses = (
        f"{root}{path}/.well-known/openid-configuration",
        f"{root}/.well-known/oauth-authorization-server{path}",
    )
    for address in addresses:
        answer = asked("GET", address)
        if isinstance(answer, str):
            raise Unreachable(
                f"The sign-in provider {issuer.issuer} cannot be reached ({answer}). Nothing was run. Try again."
            )
        status, body = answer
        if status == _OK and isinstance(body, dict):
            return _in_its_own_name(issuer, body)
        if status >= _SERVER_ERRORS:
            raise Unreachable(f"The sign-in provider {issuer.issuer} answered {status}. Nothing was run. Try again.")
    raise NotSignedIn(
        f"The sign-in provider {issuer.issuer} has no discovery document. Ask whoever runs Muniment whether that is "
        "the provider's address."
    )


def safe(address: str, what: str) -> str:
    """The address itself, if a secret may travel there."""
    try:
        parts = urlsplit(address)
        host, scheme, loose = parts.hostname, parts.scheme, parts.username is not None or bool(parts.fragment)
    except ValueError:
        host, scheme, loose = None, "", True
    readable = address.isascii() and address.isprintable() and not set(' \\"<>') & set(address)
    if host and readable and not loose and (scheme == "https" or (scheme == "http" and host in LOOPBACK)):
        return address
    raise NotSignedIn(
        f"{what[0].upper()}{what[1:]} is {plain(address)}, where no secret is sent: it must be an https:// address "
        "(http:// only for this machine itself)."
    )


def asked(method: str, address: str, write: Writing | None = None) -> Answer:
    """What the address answers. The exception's frames hold the request, and go no further.

    What is sent enters the request here and in httpx alone.
    """
    import httpx

    def written(request: httpx.Request) -> httpx.Request:
        """Always there: httpx would else look for a password of its own in the user's ``.netrc``."""
        return request if write is None else write(request)

    headers = {"Accept": "application/json", "User-Agent": f"kedro-muniment/{__version__}"}
    timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=not address.startswith("http://")) as client,
            client.stream(method, address, headers=headers, auth=written) as response,
        ):
            return response.status_code, _json(response)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        return network_faults.fault(error)


def _in_its_own_name(issuer: Issuer, metadata: dict[str, Any]) -> Provider:
    if metadata.get("issuer") != issuer.issuer:
        raise NotSignedIn(
            f"What is found at the sign-in provider {issuer.issuer} speaks for another issuer, "
            f"{plain(metadata.get('issuer'))[:_LONGEST_SAID]}. Nothing was sent to it. Ask whoever runs Muniment: the "
            "two must be the same, letter by letter."
        )
    return Provider(issuer, metadata)


def _issuer(given: Mapping[str, Any]) -> Issuer:
    def text(name: str) -> str | None:
        value = given.get(name)
        return value if isinstance(value, str) and value.isprintable() and value else None

    scopes = given.get("scopes")
    return Issuer(
        name=text("name") or "",
        issuer=text("issuer") or "",
        client_id=text("client_id"),
        default=given.get("default") is True,
        scopes=tuple(filter(_is_scope, scopes)) if isinstance(scopes, list) else (),
        resource=text("resource"),
        audience=text("audience"),
    )


def _is_scope(said: object) -> bool:
    """Whether it is one scope (RFC 6749, 3.3)."""
    return isinstance(said, str) and said != "" and said.isascii() and said.isprintable() and " " not in said


def _outcome(answer: Answer, form: Form, asker: Asker) -> Granted | Refused | str:
    """What an answer of a token endpoint says. It never raises: the answer may hold a token.

    Words that repeat a secret are left out.
    """
    if isinstance(answer, str):
        return answer
    status, body = answer
    body = body if isinstance(body, dict) else {}
    given, kind, error, told = (body.get(each) for each in ("access_token", "token_type", "error", "error_description"))
    is_bearer = status == _OK and str(kind).lower() == "bearer"
    if is_bearer and isinstance(given, str) and given and Token(given).is_sendable():
        until = _end(body.get("expires_in")) or Token(given).until()
        refresh = body.get("refresh_token")
        return Granted(Token(given), until, secret(refresh))
    said = _sayable(error, form, asker)
    return Refused(status, said if _ERROR.fullmatch(said) else None, plain(_sayable(told, form, asker))[:_LONGEST_SAID])


def _sayable(said: object, form: Form, asker: Asker) -> str:
    """What a provider said, if it is text and repeats no secret."""
    return said if isinstance(said, str) and not form.is_repeated_in(said, asker) else ""


def secret(said: object) -> Token | None:
    """What a provider gave to be sent back to it, if it is text that can be sent (RFC 6749, A.17; RFC 8628, 3.2)."""
    return Token(said) if isinstance(said, str) and said and said.isascii() and said.isprintable() else None


def _end(seconds: object) -> datetime | None:
    if isinstance(seconds, str) and seconds.isdecimal():
        seconds = float(seconds)  # as some providers write it
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        return None
    return datetime.now(UTC) + timedelta(seconds=min(seconds, _LONGEST_LIFE.total_seconds()))


def _mend(error: str) -> str:
    match error:
        case "invalid_client" | "unauthorized_client":
            return "Check the client's id and its secret or key, and that the provider lets it sign in so."
        case "invalid_scope" | "invalid_target":
            return "Ask whoever runs Muniment: the provider does not give this client tokens for it."
        case "unsupported_grant_type":
            return "The provider does not offer this way to sign in."
        case _:
            return "Ask whoever runs the provider."


def _json(response: httpx.Response) -> Any:
    """The body as JSON; ``None`` if it is something else, or longer than any honest answer."""
    held = bytearray()
    for part in response.iter_bytes():
        held += part
        if len(held) > LONGEST_ANSWER:
            return None
    try:
        return json.loads(held)
    except (ValueError, RecursionError):
        return None
