"""Where webhooks are sent: to the addresses that were looked at, and never to one that must not be called."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from muniment.core.webhooks import parse_url
from muniment.post.webhooks import Answer, Messenger
from tests.api.receiving import receiving

pytestmark = pytest.mark.anyio

LOOPBACK = (ip_network("127.0.0.0/8"),)
REFUSED = "the host is none that this service may call (MUNIMENT_WEBHOOK_NETWORKS)"


async def sent(messenger: Messenger, url: str) -> Answer:
    async with aclosing(messenger):
        return await messenger.send(parse_url(url), {"webhook-id": "1"}, b"{}")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fe80::1%eth0", "nonsense"])
async def test_a_name_that_leads_inside_is_not_called(address: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return [address]

    assert await sent(Messenger(resolve=resolve, seconds=5), "https://inside.example.org/") == Answer(why=REFUSED)


async def test_a_name_is_resolved_once_and_what_was_looked_at_is_called() -> None:
    """A second answer would lead elsewhere. Seen to fail with the name given to the connection, not the address."""
    answers = [["127.0.0.1"], ["10.0.0.7"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    async with receiving() as receiver:
        answer = await sent(Messenger(LOOPBACK, resolve=resolve), f"http://rebinding.invalid:{receiver.port}/")
    assert (answer.status, answers) == (204, [["10.0.0.7"]])


async def test_of_several_addresses_only_those_that_may_be_called_are() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.7", "127.0.0.1"]

    async with receiving() as receiver:
        answer = await sent(Messenger(LOOPBACK, resolve=resolve), f"http://mixed.example.org:{receiver.port}/a?b=c")
    assert answer.status == 204
    (message,) = receiver.came
    assert message.path == "/a?b=c"
    assert message.headers["host"] == f"mixed.example.org:{receiver.port}"


async def test_a_public_address_is_not_called_without_tls() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14"]

    assert (await sent(Messenger(LOOPBACK, resolve=resolve, seconds=5), "http://example.org/")).why == REFUSED


async def test_a_name_that_nobody_knows_is_told_apart() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return []

    assert (await sent(Messenger(resolve=resolve), "https://nobody.invalid/")).why == "no address is known for the host"


# --- TLS ------------------------------------------------------------------------------------------------------------


def certificate(directory: Path, name: str) -> Path:
    """A certificate for a name and for no address, which vouches for itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = directory / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@asynccontextmanager
async def over_tls(pem: Path) -> AsyncIterator[int]:
    """A receiver with a certificate; gives its port."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    async with receiving(serving) as receiver:
        yield receiver.port


@pytest.mark.parametrize(
    ("asked", "trusted", "told"),
    [
        ("hooks.example.org", True, Answer(status=204)),
        ("other.example.org", True, Answer(why="no TLS that can be trusted")),
        ("hooks.example.org", False, Answer(why="no TLS that can be trusted")),
    ],
    ids=["for the name", "for another name", "of somebody unknown"],
)
async def test_the_certificate_is_asked_for_by_the_name_though_an_address_is_called(
    tmp_path: Path, asked: str, trusted: bool, told: Answer
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    pem = certificate(tmp_path, "hooks.example.org")
    tls = ssl.create_default_context(cafile=pem) if trusted else ssl.create_default_context()
    async with over_tls(pem) as port:
        assert await sent(Messenger(LOOPBACK, resolve=resolve, tls=tls), f"https://{asked}:{port}/") == told


def test_the_addresses_of_these_tests_are_what_they_are_said_to_be() -> None:
    assert ip_address("93.184.215.14").is_global
    assert not ip_address("169.254.169.254").is_global
