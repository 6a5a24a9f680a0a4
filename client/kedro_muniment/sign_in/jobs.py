"""How a job signs in: which credential its environment names, and the token that comes of it.

Nobody can be asked when a job runs at night, so all of it stands in environment variables, and nothing is
guessed: that a runner's or a cluster's variables happen to be there never changes who asks. Whoever wants the
platform that runs a job to vouch for it says so by ``MUNIMENT_WORKLOAD``. Two credentials at once are refused by name:
who asks must not depend on the order in which they would have been tried.

A token that was asked for is kept in this process until shortly before its end, or until the service refuses it, and
never on disk. One that a platform writes into a file is read again at each use, because platforms replace it while a
job runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from typing_extensions import override

from kedro_muniment.problems import MunimentError, NotSignedIn, plain
from kedro_muniment.sign_in import client_credentials, workloads
from kedro_muniment.sign_in.providers import Granted
from kedro_muniment.sign_in.tokens import Awaited, Token

#: A token that was asked for is not used in the last part of its life: it must arrive before it ends.
MARGIN: Final = timedelta(seconds=60)

#: What a provider is asked for, and which: wherever a token is asked of one.
_ASKED: Final = ("MUNIMENT_TOKEN_ISSUER", "MUNIMENT_TOKEN_SCOPE")

#: What to do about a credential that is as it is.
_RENEWING: Final = {
    "MUNIMENT_TOKEN": "Set MUNIMENT_TOKEN to a fresh access token.",
    "MUNIMENT_KEY": "Set MUNIMENT_KEY to a key that was not revoked and is not at its end.",
}

#: The secret of a key that Muniment gave begins so.
KEY_PREFIX: Final = "mun_"

_ON: Final = "1"
_OFF: Final = "0"

_PROOFS: Final = ("MUNIMENT_CLIENT_SECRET", "MUNIMENT_CLIENT_SECRET_FILE", "MUNIMENT_CLIENT_KEY_FILE")
#: Each of these names a credential, and an environment names one.
CREDENTIALS: Final = ("MUNIMENT_TOKEN", "MUNIMENT_TOKEN_FILE", "MUNIMENT_KEY", *_PROOFS, "MUNIMENT_WORKLOAD")


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that the environment names: what it is in words, and how to come to its token.

    ``digest`` tells apart the tokens that are kept; ``None`` for a credential whose token is not asked for, but there.
    ``holder`` tells who it speaks for without asking anybody; ``None`` where only its token tells that.
    """

    told: str
    granted: Callable[[], Granted]
    digest: str | None = None
    holder: Callable[[], str] | None = None

    @property
    def advice(self) -> str:
        """What to do when the service does not accept its token."""
        return _RENEWING.get(self.told) or f"It was asked with {self.told}; ask whoever runs Muniment what it lets in."


class JobToken(Token):
    """A job's token as it is now: read again at each use, or asked for again at its end."""

    __slots__ = ("_credential",)

    def __init__(self, credential: Credential) -> None:
        super().__init__("", source=credential.told, advice=credential.advice)
        self._credential = credential

    def _now(self) -> Granted:
        return _current(self._credential)

    def __bool__(self) -> bool:
        return True

    @override
    def revealed(self) -> str:
        return self._now().token.revealed()

    @override
    def until(self) -> datetime | None:
        return self._now().until

    @override
    def is_sendable(self) -> bool:
        return self._now().token.is_sendable()

    @override
    def is_text(self) -> bool:
        return self._now().token.is_text()

    @override
    def is_replaced(self) -> bool:
        return _kept.pop(self._credential.digest or "", None) is not None

    @override
    def is_same(self, other: Token) -> bool:
        return self._now().token.is_same(other)

    @override
    def authorize(self, headers: MutableMapping[str, str]) -> None:
        self._now().token.authorize(headers)

    @override
    def bearer(self) -> str:
        return self._credential.holder() if self._credential.holder else self._now().token.bearer()


#: What was asked for in this process, and until when it is used.
_kept: dict[str, tuple[Granted, datetime]] = {}


def found(url: str) -> Token | None:
    """The token of the credential that the environment names for the service there; ``None`` if it names none.

    Raises :class:`NotSignedIn` where what is named is not enough, or too much, or is refused by a provider.
    """
    credential = credential_in(_named(), url)
    if credential is None:
        return None
    _current(credential)
    return JobToken(credential)


def awaited(url: str, problem: MunimentError) -> Token | None:
    """In a token's place, where its provider gives none now; ``None`` where nobody can tell without it who asks."""
    credential = credential_in(_named(), url)
    if credential is None or credential.holder is None:
        return None
    return Awaited(problem, source=credential.told, holder=credential.holder())


def is_named() -> bool:
    """Whether the environment names a credential at all."""
    return any(name in CREDENTIALS for name in _named())


def described(url: str) -> str | None:
    """The credential that is in force, without its value, and when its token ends; ``None`` if none is named."""
    credential = credential_in(_named(), url)
    if credential is None:
        return None
    ends = _current(credential).until
    return f"{credential.told}{f', until {ends:%Y-%m-%d %H:%M:%S} UTC' if ends else ''}"


def _current(credential: Credential) -> Granted:
    """The token as it is now: kept, or come by anew."""
    if credential.digest is None:
        return credential.granted()
    at = datetime.now(UTC)
    held = _kept.get(credential.digest)
    if held is None or at >= held[1]:
        granted = credential.granted()
        held = _kept[credential.digest] = (granted, _last_use(granted, at))
    return held[0]


def _last_use(granted: Granted, at: datetime) -> datetime:
    """A minute before its end; in the last tenth of a life under ten minutes; at once if nobody says when it ends."""
    return at if granted.until is None else granted.until - min(MARGIN, (granted.until - at) / 10)


def _named() -> Mapping[str, Token]:
    """What the environment says, each in a :class:`Token`, because some of it is secret. An empty one is not set."""
    given = {
        "MUNIMENT_TOKEN": os.environ.get("MUNIMENT_TOKEN"),
        "MUNIMENT_TOKEN_FILE": os.environ.get("MUNIMENT_TOKEN_FILE"),
        "MUNIMENT_KEY": os.environ.get("MUNIMENT_KEY"),
        "MUNIMENT_CLIENT_ID": os.environ.get("MUNIMENT_CLIENT_ID"),
        "MUNIMENT_CLIENT_SECRET": os.environ.get("MUNIMENT_CLIENT_SECRET"),
        "MUNIMENT_CLIENT_SECRET_FILE": os.environ.get("MUNIMENT_CLIENT_SECRET_FILE"),
        "MUNIMENT_CLIENT_KEY_FILE": os.environ.get("MUNIMENT_CLIENT_KEY_FILE"),
        "MUNIMENT_CLIENT_AUTH": os.environ.get("MUNIMENT_CLIENT_AUTH"),
        "MUNIMENT_CLIENT_ASSERTION_AUDIENCE": os.environ.get("MUNIMENT_CLIENT_ASSERTION_AUDIENCE"),
        "MUNIMENT_WORKLOAD": os.environ.get("MUNIMENT_WORKLOAD"),
        "MUNIMENT_ID_TOKEN": os.environ.get("MUNIMENT_ID_TOKEN"),
        "MUNIMENT_AUDIENCE": os.environ.get("MUNIMENT_AUDIENCE"),
        "MUNIMENT_TOKEN_EXCHANGE": os.environ.get("MUNIMENT_TOKEN_EXCHANGE"),
        "MUNIMENT_TOKEN_ISSUER": os.environ.get("MUNIMENT_TOKEN_ISSUER"),
        "MUNIMENT_TOKEN_SCOPE": os.environ.get("MUNIMENT_TOKEN_SCOPE"),
    }
    return {name: Token(value.strip(), source=name) for name, value in given.items() if value and value.strip()}


def credential_in(named: Mapping[str, Token], url: str) -> Credential | None:
    """The one credential that is named; refused by name where there are two, or where a variable is in no use."""
    for name, token in named.items():
        if not token.is_text():
            raise NotSignedIn(f"{name} holds bytes that are no text (UTF-8). Set it again.")
    # Where the platform writes its token into a file, that file is no second credential.
    beside = {"MUNIMENT_TOKEN_FILE"} if _text(named, "MUNIMENT_WORKLOAD") in workloads.IN_FILES else set()
    credentials = [name for name in CREDENTIALS if name in named and name not in beside]
    if len(credentials) > 1:
        raise NotSignedIn(
            f"{', '.join(credentials[:-1])} and {credentials[-1]} are set, and each names a credential. Who asks must "
            "not depend on their order: leave one, and unset the rest."
        )
    digest = _digest(url, named)
    match credentials:
        case ["MUNIMENT_TOKEN" | "MUNIMENT_KEY" as variable]:
            _refuse_unused(named, {variable})
            return Credential(variable, partial(_as_it_is, variable, named[variable]))
        case ["MUNIMENT_TOKEN_FILE" as variable]:
            _refuse_unused(named, {variable})
            path = named[variable].revealed()
            return Credential(f"MUNIMENT_TOKEN_FILE ({plain(path)})", partial(workloads.in_file, path))
        case ["MUNIMENT_WORKLOAD"]:
            return _workload(url, named, digest)
        case [proof]:
            return _client(url, named, proof, digest)
        case _:
            _refuse_unused(named, set())
            return None


def _as_it_is(variable: str, token: Token) -> Granted:
    if not token.is_sendable():
        raise NotSignedIn(f"{variable} holds something that is not a token. Set it again, without the word Bearer.")
    if variable == "MUNIMENT_KEY" and not token.revealed().startswith(KEY_PREFIX):
        raise NotSignedIn(
            f"MUNIMENT_KEY does not hold a key of Muniment's, which begins with {KEY_PREFIX}. An access token of your "
            "sign-in provider goes into MUNIMENT_TOKEN."
        )
    return Granted(token, token.until())


def _workload(url: str, named: Mapping[str, Token], digest: str) -> Credential:
    """The platform that runs this job vouches for it, to the service itself or to the provider."""
    name = named["MUNIMENT_WORKLOAD"].revealed()
    if name not in workloads.PLATFORMS:
        raise NotSignedIn(f"MUNIMENT_WORKLOAD is {plain(name)}. There are: {', '.join(workloads.PLATFORMS)}.")
    platform = workloads.PLATFORMS[name]
    exchanging = _text(named, "MUNIMENT_TOKEN_EXCHANGE") or _OFF
    if exchanging not in {_ON, _OFF}:
        raise NotSignedIn("MUNIMENT_TOKEN_EXCHANGE is neither 1 nor 0.")
    used = {"MUNIMENT_WORKLOAD", "MUNIMENT_TOKEN_EXCHANGE", platform.needs}
    _refuse_unused(named, used if exchanging == _OFF else used | {"MUNIMENT_CLIENT_ID", *_ASKED})
    if platform.needs not in named:
        raise NotSignedIn(f"MUNIMENT_WORKLOAD={name} needs {platform.needs}, which is not set. {platform.advice}")
    issued = partial(platform.issued, named[platform.needs])
    told = f"{platform.told} (MUNIMENT_WORKLOAD={name})"
    if exchanging == _OFF:
        return Credential(told, issued, digest if platform.is_asked else None)
    issuer, scope = (_text(named, variable) for variable in _ASKED)
    exchange = workloads.Exchange(issued, issuer, _text(named, "MUNIMENT_CLIENT_ID"), scope)
    at = f" at {plain(issuer)}" if issuer else ""
    # The same words of an environment may stand for another job today: the platform's own token tells them apart.
    holder = None if platform.is_asked else lambda: _told_apart(digest, issued().token)
    return Credential(f"{told}, exchanged{at}", partial(exchange.granted, url), digest, holder)


def _client(url: str, named: Mapping[str, Token], proof: str, digest: str) -> Credential:
    """A client of the provider, by its secret or its private key."""
    if "MUNIMENT_CLIENT_ID" not in named:
        raise NotSignedIn(f"{proof} is set, and MUNIMENT_CLIENT_ID, whose proof it is, is not. Set that too.")
    by_key = proof == "MUNIMENT_CLIENT_KEY_FILE"
    choice = "MUNIMENT_CLIENT_ASSERTION_AUDIENCE" if by_key else "MUNIMENT_CLIENT_AUTH"
    _refuse_unused(named, {proof, "MUNIMENT_CLIENT_ID", choice, *_ASKED})
    chosen = _text(named, choice)
    known = client_credentials.AUDIENCES if by_key else client_credentials.METHODS
    if chosen is not None and chosen not in known:
        raise NotSignedIn(f"{choice} is {plain(chosen)}. There are: {', '.join(known)}.")
    issuer, scope = (_text(named, variable) for variable in _ASKED)
    client = client_credentials.Client(
        named["MUNIMENT_CLIENT_ID"].revealed(), client_credentials.PROOFS[proof](named[proof], chosen), issuer, scope
    )
    return Credential(client.told, partial(client.granted, url), digest, lambda: digest)


def _text(named: Mapping[str, Token], variable: str) -> str | None:
    """What a variable that is no secret says."""
    return named[variable].revealed() if variable in named else None


def _digest(url: str, named: Mapping[str, Token]) -> str:
    """Tells what is named now from what was named before. A secret goes into it as a digest alone."""
    said = [url, *((name, named[name].bearer()) for name in sorted(named))]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _told_apart(digest: str, token: Token) -> str:
    return hashlib.sha256(json.dumps([digest, token.bearer()]).encode()).hexdigest()


def _refuse_unused(named: Mapping[str, Token], used: set[str]) -> None:
    """A variable that nothing reads would be a wish that silently does not hold."""
    unused = [name for name in named if name not in used]
    if unused:
        raise NotSignedIn(f"{unused[0]} is set, and says nothing without {_NEEDS[unused[0]]}. Set that, or unset it.")


_NEEDS: Final = {
    "MUNIMENT_TOKEN_FILE": "MUNIMENT_WORKLOAD=file or MUNIMENT_WORKLOAD=kubernetes",
    "MUNIMENT_CLIENT_ID": f"what proves it ({', '.join(_PROOFS)})",
    "MUNIMENT_CLIENT_AUTH": "MUNIMENT_CLIENT_SECRET or MUNIMENT_CLIENT_SECRET_FILE",
    "MUNIMENT_CLIENT_ASSERTION_AUDIENCE": "MUNIMENT_CLIENT_KEY_FILE",
    "MUNIMENT_ID_TOKEN": "MUNIMENT_WORKLOAD=gitlab",
    "MUNIMENT_AUDIENCE": "MUNIMENT_WORKLOAD=github",
    "MUNIMENT_TOKEN_EXCHANGE": "MUNIMENT_WORKLOAD",
    "MUNIMENT_TOKEN_ISSUER": "MUNIMENT_CLIENT_ID or MUNIMENT_TOKEN_EXCHANGE=1",
    "MUNIMENT_TOKEN_SCOPE": "MUNIMENT_CLIENT_ID or MUNIMENT_TOKEN_EXCHANGE=1",
}
