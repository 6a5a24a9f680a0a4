"""Mails: made as plain text, and handed to the one server that the settings name (SMTP, RFC 5321).

A mail says that a machine wrote it (RFC 3834, 5), so that nobody's absence notice answers it, and how to get no more
of them with one click (RFC 8058). Its Message-ID follows from what it tells: if the service dies between handing a mail
over and writing that down, the second copy is known for what it is.

What travels is encrypted and goes to a server that has proven its name, unless the settings say ``none``, which they
may on this machine alone (``safe_start.py``). The password is read from its file each time, and stands nowhere else.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)
from pydantic import BaseModel, ConfigDict, Field, field_validator

from muniment.core.notices import checked_mailbox
from muniment.core.problems import Invalid

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}

#: How long a server may take for each answer.
_SECONDS: Final = 20

#: Answers that no further attempt will change (RFC 5321, 4.2.1).
_PERMANENT: Final = range(500, 600)

_UNSEEN: Final = re.compile(r"[^\x20-\x7e]+")


class MailServer(BaseModel):
    """The setting ``smtp``: which server takes the mails, and in whose name they are sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    host: str = Field(min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_file: Path | None = None
    sender: str = Field(alias="from")
    reply_to: str | None = None
    ca_file: Path | None = None

    @field_validator("sender", "reply_to")
    @classmethod
    def _mailbox(cls, text: str | None) -> str | None:
        try:
            return checked_mailbox(text) if text is not None else None
        except Invalid as refused:
            raise ValueError(refused.detail) from refused

    @property
    def address(self) -> str:
        """The server's host and port."""
        return f"{self.host}:{self.port or _PORTS[self.security]}"

    @property
    def domain(self) -> str:
        """The domain in whose name mails are sent: the right side of what is unique about them."""
        return self.sender.rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail to one address. ``name`` is unique to what it tells; ``unsubscribe`` is where a POST ends such mails."""

    to: str
    title: str
    text: str
    at: datetime
    name: str
    list_name: str = "notices"
    unsubscribe: str | None = None


class Undelivered(Exception):
    """The server did not take a mail. ``final`` says that it never will; ``server`` that it takes none at all now."""

    def __init__(self, words: str, *, final: bool = False, server: bool = False) -> None:
        super().__init__(words)
        self.final = final
        self.server = server


def written(server: MailServer, mail: Mail) -> EmailMessage:
    """The mail as it travels (RFC 5322)."""
    message = EmailMessage(policy=WIRE)
    message["From"] = Address("Muniment", addr_spec=server.sender)
    message["To"] = Address(addr_spec=mail.to)
    if server.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=server.reply_to)
    message["Subject"] = mail.title
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = f"<{mail.name}@{server.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["List-Id"] = f"<{mail.list_name}.muniment.{server.domain}>"
    if mail.unsubscribe is not None:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text, cte="quoted-printable")
    return message


class Mailer:
    """A connection to the server, on which one mail follows another. Raises :class:`Undelivered`."""

    def __init__(self, server: MailServer, client: SMTP) -> None:
        self._server = server
        self._client = client

    async def send(self, mail: Mail) -> None:
        """The server has taken the mail when this returns."""
        message = written(self._server, mail)
        try:
            await self._client.send_message(message, sender=self._server.sender, recipients=[mail.to])
        except SMTPRecipientsRefused as refused:
            (first, *_) = refused.recipients
            raise Undelivered(f"The server refuses the address: {_told(first)}", final=_is_final(first)) from None
        except SMTPResponseException as refused:
            raise Undelivered(f"The server refuses the mail: {_told(refused)}", final=_is_final(refused)) from None
        except (SMTPException, OSError) as failed:
            raise Undelivered(f"The server went away: {type(failed).__name__}", server=True) from None


@asynccontextmanager
async def connected(server: MailServer) -> AsyncIterator[Mailer]:
    """A connection to the server, signed in; raises :class:`Undelivered` where there is none."""
    client = _client(server)
    try:
        for step in (_connect, _encrypt, _sign_in):
            await step(server, client)
        yield Mailer(server, client)
        await _take_leave(client)
    finally:
        client.close()


async def _take_leave(client: SMTP) -> None:
    """Say goodbye to a server that still listens; whether it hears that is all the same."""
    with suppress(SMTPException, OSError):
        if client.is_connected:
            await client.quit()


def _client(server: MailServer) -> SMTP:
    return SMTP(
        hostname=server.host,
        port=server.port or _PORTS[server.security],
        use_tls=server.security == "tls",
        start_tls=False,
        tls_context=_trust(server) if server.security != "none" else None,
        timeout=_SECONDS,
    )


def _trust(server: MailServer) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except OSError as failed:
        raise Undelivered(f"{server.ca_file} cannot be read: {failed.strerror}", server=True) from None


async def _connect(server: MailServer, client: SMTP) -> None:
    try:
        await client.connect()
        await client.ehlo()
    except ssl.SSLError as failed:
        raise Undelivered(f"No trust in {server.address}: {_of_tls(failed)}", server=True) from None
    except (SMTPException, OSError) as failed:
        reason = failed.__cause__ or failed
        words = _of_tls(reason) if isinstance(reason, ssl.SSLError) else _of_network(reason)
        raise Undelivered(f"No mail server answers at {server.address}: {words}", server=True) from None


async def _encrypt(server: MailServer, client: SMTP) -> None:
    if server.security != "starttls":
        return
    try:
        await client.starttls()
    except (SMTPException, OSError) as failed:
        reason = failed.__cause__ or failed
        words = _of_tls(reason) if isinstance(reason, ssl.SSLError) else "it does not offer STARTTLS"
        raise Undelivered(f"{server.address} cannot be spoken to in secret: {words}", server=True) from None


async def _sign_in(server: MailServer, client: SMTP) -> None:
    if server.user is None:
        return
    try:
        await client.login(server.user, _password(server))
    except SMTPAuthenticationError:
        raise Undelivered(f"{server.address} refuses the user {server.user} or its password", server=True) from None
    except (SMTPException, OSError) as failed:
        raise Undelivered(f"{server.address} lets nobody sign in: {type(failed).__name__}", server=True) from None


def _password(server: MailServer) -> str:
    if server.password_file is None:
        return ""
    try:
        return server.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Undelivered(f"The file of the password, {server.password_file}, cannot be read", server=True) from None


def _is_final(refused: SMTPResponseException) -> bool:
    return refused.code in _PERMANENT


def _told(refused: SMTPResponseException) -> str:
    """What a server answered: its code, and the beginning of its words, of which none is believed to be harmless."""
    return f"{refused.code} {_UNSEEN.sub(' ', refused.message)[:200]}".strip()


def _of_network(failed: BaseException) -> str:
    """The system's words; asyncio's own tell of calls and tuples."""
    number = getattr(failed, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(failed, "strerror", None) or type(failed).__name__


def _of_tls(failed: BaseException) -> str:
    return getattr(failed, "verify_message", "") or getattr(failed, "reason", "") or type(failed).__name__


# --- the settings, tried ----------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What came of a step."""

    HOLDS = "holds"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way of a mail, and what came of it."""

    name: str
    outcome: Outcome
    words: str = ""


async def tried(server: MailServer, mail: Mail) -> list[Step]:
    """Send a mail step by step, up to the first that fails."""
    steps: list[Step] = []

    async def send(server: MailServer, client: SMTP) -> None:
        await Mailer(server, client).send(mail)

    found = {
        "connection": (_connect, f"{server.address} answers as a mail server"),
        "encryption": (_encrypt, "plain, as the setting says" if server.security == "none" else "with a trusted name"),
        "sign-in": (_sign_in, f"as {server.user}" if server.user else "none is set"),
        "mail": (send, f"the server took a mail from {server.sender} to {mail.to}"),
    }
    client: SMTP | None = None
    try:
        client = _client(server)
        for name, (step, words) in found.items():
            await step(server, client)
            steps.append(Step(name, Outcome.HOLDS, words))
        await _take_leave(client)
    except Undelivered as failed:
        steps.append(Step(list(found)[len(steps)], Outcome.WRONG, str(failed)))
    finally:
        if client is not None:
            client.close()
    return steps
