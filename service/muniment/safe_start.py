"""What would make it unsafe to start: what is sent in the open, and what others may read or write.

The service refuses to start so, and says of each danger what mends it. With
``MUNIMENT_INSECURE=true`` it starts nevertheless, and says the same loudly each time. An
issuer without an audience is no danger to be weighed: its tokens would be everybody's, so
the settings have no way to say it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from muniment.core.addresses import on_this_machine
from muniment.core.problems import CannotStart
from muniment.settings import Settings, Surroundings

#: With these libpq speaks to a server without TLS although it might have it (PostgreSQL, 32.1.2).
_IN_THE_OPEN: Final = frozenset({"disable", "allow"})

_WIDTH: Final = 100


def refuse_danger(settings: Settings, around: Surroundings) -> tuple[str, ...]:
    """Each danger in words; raises :class:`CannotStart` when there is one that nobody has accepted."""
    found = dangers(settings, around)
    if found and not settings.insecure:
        raise CannotStart(f"{' '.join(found)} To start nevertheless, where it does no harm: MUNIMENT_INSECURE=true")
    return found


def banner(found: tuple[str, ...]) -> str:
    """What a start says that was told to go on."""
    rule = "!" * _WIDTH
    told = "\n".join(f"!! {danger}" for danger in found)
    return f"{rule}\n!! THIS SERVICE IS NOT SAFE, and was started because MUNIMENT_INSECURE says so:\n{told}\n{rule}"


def dangers(settings: Settings, around: Surroundings) -> tuple[str, ...]:
    """Everything about a start that is not safe: what is so, and what mends it."""
    return (
        *_of_issuers(settings),
        *_of_listening(settings),
        *_of_the_database(settings, around),
        *_of_mails(settings),
        *_of_files(settings, around),
    )


def _of_issuers(settings: Settings) -> Iterator[str]:
    for issuer in settings.issuers:
        if issuer.plain:
            yield (
                f"The issuer “{issuer.name}” is asked in plain HTTP ({issuer.issuer}), so whoever is on the way can "
                "sign in as anybody; give its https:// address in MUNIMENT_ISSUERS."
            )


def _of_listening(settings: Settings) -> Iterator[str]:
    public = urlsplit(settings.public_url) if settings.public_url else None
    if public is not None and public.scheme != "https" and not on_this_machine(public.hostname or ""):
        yield (
            f"MUNIMENT_PUBLIC_URL is plain HTTP ({settings.public_url}), so tokens and cookies can be read on the way; "
            "put a proxy with TLS before the service, and give its https:// address."
        )
    elif public is None and not on_this_machine(settings.host):
        yield (
            f"MUNIMENT_HOST is {settings.host}, so other machines reach the service, and in plain HTTP; listen on "
            "127.0.0.1, or put a proxy with TLS before it and give its https:// address as MUNIMENT_PUBLIC_URL."
        )


def _of_the_database(settings: Settings, around: Surroundings) -> Iterator[str]:
    for name in ("database_url", "database_owner_url"):
        address = urlsplit(getattr(settings, name) or "")
        query = parse_qs(address.query)
        mode = query.get("sslmode", [around.sslmode])[-1]
        if (
            address.scheme
            and mode in _IN_THE_OPEN
            and any(map(_is_remote, _hosts(address, query.get("host", [around.database_host]))))
        ):
            yield (
                f"The database is on another machine and asked with sslmode={mode}, so all that Muniment knows can be "
                f"read on the way; write sslmode=verify-full in MUNIMENT_{name.upper()}."
            )


def _of_mails(settings: Settings) -> Iterator[str]:
    server = settings.smtp
    if server is not None and server.security == "none" and not on_this_machine(server.host):
        yield (
            f"Mails and the password of their server ({server.host}) can be read on the way; give MUNIMENT_SMTP the "
            'security "starttls" or "tls".'
        )


def _hosts(address: SplitResult, otherwise: list[str]) -> list[str]:
    """The hosts of a database's URL: one, several with commas, or those that stand elsewhere."""
    written = [host for host in address.netloc.rpartition("@")[2].split(",") if host]
    hosts = [host.partition("]")[0] if host.startswith("[") else host.partition(":")[0] for host in written]
    return hosts or [host for several in otherwise for host in several.split(",")]


def _is_remote(host: str) -> bool:
    """Not this machine; a path is that of a Unix socket, as is no host at all."""
    return bool(host) and host[0] not in "/@" and not on_this_machine(host.strip("[]"))


def _of_files(settings: Settings, around: Surroundings) -> Iterator[str]:
    if os.name == "nt":  # there the mode of a file says nothing of who may read it
        return
    if _lets(settings.data_dir, stat.S_IWOTH):
        yield (
            f"Everybody on this machine may write in the data directory {settings.data_dir}; name another as "
            f"MUNIMENT_DATA_DIR, or run: chmod o-w {settings.data_dir}"
        )
    if _lets(settings.secret_path, stat.S_IRWXG | stat.S_IRWXO):
        yield (
            f"Others on this machine may read or write the service's secret {settings.secret_path}; run: "
            f"chmod 600 {settings.secret_path}"
        )
    password = settings.smtp.password_file if settings.smtp is not None else None
    if password is not None and _lets(password, stat.S_IRWXO):
        yield (
            f"Everybody on this machine may read the password of the mail server in {password}; run: "
            f"chmod o-rwx {password}"
        )
    if _lets(settings.seal_key_path, stat.S_IRWXG | stat.S_IRWXO):
        yield (
            f"Others on this machine may read or write the key that seals the ledger, {settings.seal_key_path}; run: "
            f"chmod 600 {settings.seal_key_path}"
        )
    if around.file is not None and around.file_holds_secret and _lets(around.file, stat.S_IROTH | stat.S_IWOTH):
        yield (
            f"The file of settings {around.file} holds a secret, and everybody on this machine may read it; run: "
            f"chmod o-rw {around.file}"
        )


def _lets(path: Path, modes: int) -> bool:
    """Whether a file or directory that is there lets others do one of these things."""
    try:
        return bool(path.stat().st_mode & modes)
    except OSError:
        return False
