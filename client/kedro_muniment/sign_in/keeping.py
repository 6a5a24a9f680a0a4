"""Where the sign-ins of a person are kept: one for each service and issuer, side by side.

What is known of a sign-in (who, where, since when) stands in a file of the user's configuration directory. Its tokens
stand in the system's keyring, where the `keyring` package is installed and knows a real one; else in that file. The
directory is its owner's alone (0700) and so is each file (0600). A file that anybody else could have read or written is
refused, because whoever wrote it may have chosen who you are. A file is replaced whole or not at all.

Tokens that a provider replaces at each use may be used by one process alone: :func:`alone` is the lock for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from kedro_muniment import locks, own_files
from kedro_muniment.problems import MunimentError, NotSignedIn, Unreachable
from kedro_muniment.sign_in.tokens import Token

FORMAT: Final = 1
#: The name under which the keyring lists what is kept there.
KEYRING_SERVICE: Final = "kedro-muniment"
#: A backend below this is a last resort that keeps in plain text, or nothing at all (keyring's own scale).
_REAL_KEYRING: Final = 1
_LOCK_SECONDS: Final = 90.0
_LOCK_PAUSE: Final = 0.05
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

Store = Literal["keyring", "file"]


@dataclass(frozen=True, slots=True)
class SignIn:
    """That somebody signed in at one service by one issuer: everything but the tokens."""

    url: str
    issuer: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    resource: str | None
    since: datetime
    store: Store = "file"

    @property
    def name(self) -> str:
        """What its files are called: those of one service begin alike."""
        return f"{_digest(self.url)}-{_digest(self.issuer)}"

    def where(self) -> str:
        """Where its tokens are, for people."""
        return "the system's keyring" if self.store == "keyring" else str(_file(self))


@dataclass(frozen=True, slots=True)
class Tokens:
    """The secrets of a sign-in; no ``repr`` shows them."""

    access: Token
    refresh: Token | None
    ends: datetime | None

    def revealed(self) -> dict[str, Any]:
        return {
            "access": self.access.revealed(),
            "refresh": self.refresh.revealed() if self.refresh else None,
            "ends": self.ends.isoformat() if self.ends else None,
        }


def normalised(url: str) -> str:
    """One spelling for each service: scheme and host in lower case, no default port, no slash at the end."""
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}{parts.path.rstrip('/')}"


def known(url: str | None = None) -> list[SignIn]:
    """The sign-ins that are kept for a service, or for all, the newest first."""
    prefix = f"{_digest(normalised(url))}-" if url is not None else ""
    folder = directory()
    if not folder.is_dir():
        return []
    found = [_known(file) for file in sorted(folder.glob(f"{prefix}*.json"))]
    return sorted((each for each in found if each is not None), key=lambda each: each.since, reverse=True)


def tokens_of(sign_in: SignIn, *, to_end_it: bool = False) -> Tokens | None:
    """The tokens of a sign-in, or ``None`` where they are gone.

    A file that others may have read is refused, but for ending the sign-in.
    """
    file = _file(sign_in)
    refused = _refused(file, to_end_it=to_end_it)
    if refused is not None:
        raise NotSignedIn(refused)
    if sign_in.store == "keyring":
        return _tokens(_of_keyring(sign_in))
    return _tokens(_document(file).get("tokens"))


def keep(sign_in: SignIn, tokens: Tokens) -> SignIn:
    """Keep it in place of any earlier one; answers where. To be called within :func:`alone`."""
    kept = replace(sign_in, store="keyring" if _to_keyring(sign_in, tokens) else "file")
    failure = _written(kept, tokens)
    if failure is not None:
        _out_of_keyring(kept)
        raise MunimentError(f"The sign-in cannot be kept in {directory()} ({failure}). Nothing was kept.")
    if kept.store == "file":
        _out_of_keyring(kept)
    return kept


def forget(sign_in: SignIn) -> None:
    """Keep it no longer. To be called within :func:`alone`."""
    _out_of_keyring(sign_in)
    try:
        _file(sign_in).unlink(missing_ok=True)
    except OSError as error:
        raise MunimentError(f"{_file(sign_in)} cannot be removed: {error.strerror}. Remove it yourself.") from None


@contextlib.contextmanager
def alone(sign_in: SignIn) -> Iterator[None]:
    """While one process is within, every other process and thread that wants this sign-in's tokens changed waits."""
    descriptor = _lock_file(_made_directory() / f"{sign_in.name}.lock")
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not locks.taken(descriptor):
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"Another process has been renewing the sign-in at {sign_in.url} for {_LOCK_SECONDS:.0f} seconds. "
                    "End it, or try again."
                )
            time.sleep(_LOCK_PAUSE)
        yield
    finally:
        os.close(descriptor)


def directory() -> Path:
    """The user's configuration directory as each system means it."""
    folder = own_files.place("config")
    if folder is None:
        raise NotSignedIn(
            "This user has no home directory, so no sign-in is kept. Set XDG_CONFIG_HOME, or MUNIMENT_TOKEN."
        )
    return folder


def _file(sign_in: SignIn) -> Path:
    return directory() / f"{sign_in.name}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _known(file: Path) -> SignIn | None:
    """What a file says of its sign-in. What is not one of ours, or of another version, is as if it were not there."""
    said = {name: held for name, held in _document(file).items() if name != "tokens"}
    try:
        found = SignIn(
            url=str(said["url"]),
            issuer=str(said["issuer"]),
            client_id=str(said["client_id"]),
            subject=str(said["subject"]),
            scopes=tuple(map(str, said["scopes"])),
            resource=said["resource"],
            since=datetime.fromisoformat(said["since"]),
            store="keyring" if said["store"] == "keyring" else "file",
        )
    except (KeyError, TypeError, ValueError):
        return None
    return found if said["format"] == FORMAT and found.since.tzinfo and f"{found.name}.json" == file.name else None


def _document(file: Path) -> Mapping[str, Any]:
    """The file as JSON; nothing where it is none. Nothing of it can be in an exception."""
    try:
        held = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _tokens(held: object) -> Tokens | None:
    """It never raises: what it is given are secrets."""
    if not isinstance(held, dict) or not isinstance(held.get("access"), str):
        return None
    refresh = held.get("refresh")
    return Tokens(
        Token(held["access"]), Token(refresh) if isinstance(refresh, str) else None, _moment(held.get("ends"))
    )


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _refused(file: Path, *, to_end_it: bool) -> str | None:
    """Why a file is not to be believed, if it is not. On Windows the profile that it lies in sees to that."""
    if sys.platform == "win32":
        return None
    try:
        status = file.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        return f"{file} is not your own file, so what it says is not believed. Remove it: kedro muniment logout"
    if status.st_mode & own_files.OTHERS and not to_end_it:
        return (
            f"{file} holds your sign-in, and others may read it (mode {stat.S_IMODE(status.st_mode):04o}). End it, and "
            "sign in again: kedro muniment logout, then kedro muniment login"
        )
    return None


def _made_directory() -> Path:
    folder = directory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform != "win32" and folder.stat().st_mode & own_files.OTHERS:
            folder.chmod(0o700)
    except OSError as error:
        raise MunimentError(f"No sign-in can be kept in {folder}: {error.strerror}. Make it your own.") from None
    return folder


def _written(sign_in: SignIn, tokens: Tokens) -> str | None:
    """Replace the file of a sign-in whole, or say why not."""
    try:
        _made_directory()
        own_files.replace(_file(sign_in), lambda: _text(sign_in, tokens).encode(), lasting=True)
    except OSError as error:
        return str(error.strerror)
    return None


def _text(sign_in: SignIn, tokens: Tokens) -> str:
    said = {
        "format": FORMAT,
        "url": sign_in.url,
        "issuer": sign_in.issuer,
        "client_id": sign_in.client_id,
        "subject": sign_in.subject,
        "scopes": sign_in.scopes,
        "resource": sign_in.resource,
        "since": sign_in.since.isoformat(),
        "store": sign_in.store,
    }
    return json.dumps(said if sign_in.store == "keyring" else {**said, "tokens": tokens.revealed()}, indent=1)


def _keyring() -> Any:
    """The system's keyring, if there is one that keeps secrets."""
    try:
        import keyring
        from keyring.backends import chainer

        found = keyring.get_keyring()
        first = next(iter(found.backends), found) if isinstance(found, chainer.ChainerBackend) else found
        return found if first.priority >= _REAL_KEYRING else None
    except Exception:  # noqa: BLE001 - a backend of somebody else's, which may fail in any way
        return None


def _account(sign_in: SignIn) -> str:
    return f"{sign_in.url} by {sign_in.issuer}"


def _to_keyring(sign_in: SignIn, tokens: Tokens) -> bool:
    """Whether the keyring took the tokens. Some refuse long ones; what they say of it may hold the secret."""
    found = _keyring()
    if found is None:
        return False
    try:
        found.set_password(KEYRING_SERVICE, _account(sign_in), json.dumps(tokens.revealed()))
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _of_keyring(sign_in: SignIn) -> object:
    found = _keyring()
    if found is None:
        return None
    try:
        return json.loads(found.get_password(KEYRING_SERVICE, _account(sign_in)) or "null")
    except Exception:  # noqa: BLE001 - as above
        return None


def _out_of_keyring(sign_in: SignIn) -> None:
    found = _keyring()
    if found is not None:
        with contextlib.suppress(Exception):  # it was not there, or the keyring is locked
            found.delete_password(KEYRING_SERVICE, _account(sign_in))


def _lock_file(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise MunimentError(f"{file} cannot be locked: {error.strerror}. Make it your own.") from None
