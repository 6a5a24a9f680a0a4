"""Mails as they leave: to a real server, in secret and signed in where it must be so, readable by any mail program."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from email.headerregistry import Address
from pathlib import Path

import pytest

from muniment.post.mail import Mail, MailServer, Outcome, Undelivered, connected, tried
from tests.post.receiving import SENDER, certified, receiving

pytestmark = pytest.mark.anyio

AT = datetime(2027, 3, 1, 9, tzinfo=UTC)
PASSWORD = "a-password-of-the-tests"


def mail(**more: object) -> Mail:
    given = {
        "to": "ann@example.org",
        "title": "Müniment: ein Titel",
        "text": "Zwei\nZeilen …\n",
        "at": AT,
        "name": "n1",
    }
    return Mail(**{**given, **more})  # type: ignore[arg-type]


async def sent(server: MailServer, one: Mail) -> None:
    async with connected(server) as mailer:
        await mailer.send(one)


async def test_a_mail_says_who_wrote_it_that_a_machine_did_and_how_to_get_no_more() -> None:
    async with receiving() as received:
        await sent(received.server(reply_to="stewards@example.org"), mail(unsubscribe="https://m.example/u?token=x.y"))
    (got,) = received.mails
    assert (got["From"], got["Reply-To"], got["To"]) == (
        f"Muniment <{SENDER}>",
        "stewards@example.org",
        "ann@example.org",
    )
    assert (got["Subject"], got["Message-ID"]) == ("Müniment: ein Titel", "<n1@service.example>")
    assert got["Date"].datetime == AT
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["List-Unsubscribe"] == "<https://m.example/u?token=x.y>"
    assert got["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert got.get_content_type() == "text/plain"
    assert got.get_content().replace("\r\n", "\n") == "Zwei\nZeilen …\n"


async def test_a_title_adds_no_header_whatever_is_in_it() -> None:
    async with receiving() as received:
        with pytest.raises(ValueError, match=r"newline|linefeed"):
            await sent(received.server(), mail(title="fine\r\nBcc: eve@example.org"))
    assert not received.mails


@pytest.mark.parametrize("wrapped", [False, True], ids=["starttls", "tls"])
async def test_with_a_trusted_name_a_mail_goes_in_secret_and_with_the_password(tmp_path: Path, wrapped: bool) -> None:
    context, authority = certified(tmp_path)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    given = {
        "security": "tls" if wrapped else "starttls",
        "ca_file": authority,
        "user": "muniment",
        "password_file": tmp_path / "password",
    }
    async with receiving(tls=context, wrapped=wrapped, password=PASSWORD) as received:
        await sent(received.server(**given), mail())
        (tmp_path / "password").write_text("another one")
        with pytest.raises(Undelivered, match="refuses the user muniment or its password") as refused:
            await sent(received.server(**given), mail())
    assert len(received.mails) == 1
    assert refused.value.server
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(received.server(**given))


async def test_a_server_that_cannot_prove_its_name_gets_nothing(tmp_path: Path) -> None:
    context, authority = certified(tmp_path, name="localhost")
    async with receiving(tls=context) as received:
        for ca_file in (None, authority):
            with pytest.raises(Undelivered, match="cannot be spoken to in secret") as refused:
                await sent(received.server(security="starttls", ca_file=ca_file), mail())
            assert refused.value.server
    assert not received.mails


async def test_a_server_without_starttls_is_not_spoken_to_in_the_open() -> None:
    async with receiving() as received:
        with pytest.raises(Undelivered, match="does not offer STARTTLS"):
            await sent(received.server(security="starttls"), mail())
    assert not received.mails


@pytest.mark.parametrize(
    ("answer", "final"), [("451 try later", False), ("554 \x1b[31mno such\tthing", True)], ids=["for now", "for ever"]
)
async def test_a_refusal_says_whether_another_attempt_may_help(answer: str, final: bool) -> None:
    async with receiving() as received:
        received.answer = answer
        with pytest.raises(Undelivered) as refused:
            await sent(received.server(), mail())
        received.answer_to_recipient = answer
        with pytest.raises(Undelivered, match="refuses the address") as refused_address:
            await sent(received.server(), mail())
    assert (refused.value.final, refused_address.value.final) == (final, final)
    assert not refused.value.server
    assert str(refused.value).isprintable()


async def test_a_server_that_is_away_is_named() -> None:
    async with receiving() as received:
        away = received.server()
    with pytest.raises(Undelivered, match=f"answers at 127.0.0.1:{away.port}: Connection refused") as refused:
        await sent(away, mail())
    assert refused.value.server


async def test_the_settings_are_tried_step_by_step_up_to_what_is_wrong(tmp_path: Path) -> None:
    context, authority = certified(tmp_path)
    (tmp_path / "password").write_text("wrong")
    async with receiving(tls=context, password=PASSWORD) as received:
        server = received.server(
            security="starttls", ca_file=authority, user="muniment", password_file=tmp_path / "password"
        )
        steps = await tried(server, mail())
        assert [(step.name, step.outcome) for step in steps] == [
            ("connection", Outcome.HOLDS),
            ("encryption", Outcome.HOLDS),
            ("sign-in", Outcome.WRONG),
        ]
        (tmp_path / "password").write_text(PASSWORD)
        assert [step.outcome for step in await tried(server, mail())] == [Outcome.HOLDS] * 4
    assert len(received.mails) == 1
    assert received.mails[0]["From"].addresses == (Address("Muniment", addr_spec=SENDER),)


async def test_the_command_tells_each_step_and_never_the_password(tmp_path: Path) -> None:
    context, authority = certified(tmp_path)
    (tmp_path / "password").write_text(PASSWORD)
    async with receiving(tls=context, password=PASSWORD) as received:
        setting = {
            "host": "127.0.0.1",
            "port": received.port,
            "from": SENDER,
            "user": "muniment",
            "password_file": str(tmp_path / "password"),
            "ca_file": str(authority),
        }
        command = asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("muniment"),
            *("doctor", "mail", "--to", "ann@example.org"),
            env={"MUNIMENT_SMTP": json.dumps(setting), "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process = await command
        out, err = (text.decode() for text in await process.communicate())
    assert (process.returncode, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"holds   {step}" for step in ("connection", "encryption", "sign-in", "mail")
    ]
    assert PASSWORD not in out
    assert [mail["To"] for mail in received.mails] == ["ann@example.org"]


@pytest.mark.parametrize(
    "sender",
    ["", "no address", "a@b\r\nBcc: c@d", "Ann <a@b.example>", "a@b@c", "ä@example.org", f"{'a' * 65}@b.example"],
)
def test_a_sender_is_one_plain_address(sender: str) -> None:
    with pytest.raises(ValueError, match="Write one address"):
        MailServer(host="mail.example", sender=sender)
