"""A real mail server for tests: takes mails over SMTP, with STARTTLS and a password where it is told to."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from muniment.post.mail import MailServer

SENDER = "muniment@service.example"


@dataclass
class Received:
    """The mails that a server took, and how it answers; ``answer`` is said to each mail instead of taking it."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    answer: str | None = None
    answer_to_recipient: str | None = None
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    #: Holds each mail after it has been taken, before the server says so.
    hold: asyncio.Event | None = None

    def server(self, **more: Any) -> MailServer:
        """The setting by which this server is found."""
        return MailServer(**{"host": "127.0.0.1", "port": self.port, "security": "none", "sender": SENDER, **more})

    def to(self, mailbox: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == mailbox]

    # What aiosmtpd calls.

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.answer_to_recipient is not None:
            return self.answer_to_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer is not None:
            return self.answer
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        assert [mail["To"]] == envelope.rcpt_tos
        self.mails.append(mail)
        self.taken.set()
        if self.hold is not None:
            await self.hold.wait()
        return "250 taken"


@asynccontextmanager
async def receiving(
    *, tls: ssl.SSLContext | None = None, wrapped: bool = False, password: str | None = None
) -> AsyncIterator[Received]:
    """A server on this machine: with ``tls`` it offers STARTTLS (``wrapped``: speaks TLS from the first byte)."""
    received = Received()

    def check(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        return AuthResult(success=given.password.decode() == password, handled=False)

    def protocol() -> SMTP:
        # aiosmtpd does not know that TLS from the first byte is TLS, and warns of passwords in the open.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return _protocol()

    def _protocol() -> SMTP:
        return SMTP(
            received,
            hostname="receiver.example",
            tls_context=None if wrapped else tls,
            require_starttls=tls is not None and not wrapped,
            authenticator=check if password else None,
            auth_required=password is not None,
            auth_require_tls=not wrapped and tls is not None,
            loop=asyncio.get_running_loop(),
        )

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls if wrapped else None)
    received.port = listening.sockets[0].getsockname()[1]
    try:
        yield received
    finally:
        listening.close()
        await listening.wait_closed()


def certified(folder: Path, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """What a server proves its name with, and the file of the authority that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server of the tests")])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    if name == "127.0.0.1":
        names.append(x509.IPAddress(ipaddress.ip_address(name)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "authority.pem", folder / "server.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
