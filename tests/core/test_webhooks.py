"""What may be called, how long is waited, and what is signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Reference

from muniment.core.addresses import may_be_called
from muniment.core.problems import Invalid
from muniment.core.webhooks import (
    Patience,
    Secrets,
    Verdict,
    asked_wait,
    headers,
    judged,
    parse_url,
    written_secret,
)

AT = datetime(2027, 3, 1, 8, tzinfo=UTC)

PUBLIC = ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e")
INSIDE = (
    "0.0.0.0",  # noqa: S104 - an address among others
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
    "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:0:0:0:0:0:1",
    "2001:db8::1", "fec0::1", "192.88.99.1", "::ffff:192.88.99.1", "example.org", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_called_with_tls_alone(address: str) -> None:
    assert may_be_called(address, (), plainly=False)
    assert not may_be_called(address, (), plainly=True)


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_inside_is_called(address: str) -> None:
    assert not may_be_called(address, (), plainly=False)
    assert not may_be_called(address, (), plainly=True)


def test_a_listed_network_is_called_however_its_addresses_are_written() -> None:
    listed = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert may_be_called(address, listed, plainly=True)
    for address in ("11.1.2.3", "::ffff:127.0.0.1", "fe80::1"):
        assert not may_be_called(address, listed, plainly=True)


@given(st.text(max_size=40))
def test_what_is_read_as_an_address_names_one_host_and_nobody(text: str) -> None:
    try:
        url = parse_url(f"https://{text}")
    except Invalid:
        return
    assert url.target.startswith("/")
    assert not set("@#\\ ") & set(url.host)
    assert url.target.isascii()
    assert 0 < url.port < 65536


def test_what_is_signed_is_what_the_reference_signs() -> None:
    first, second, body = bytes(range(32)), bytes(32), '{"type":"x","data":"ä"}'.encode()
    made = headers(Secrets(first, second), "019d6a9e-0000-7000-8000-000000000000", AT, body)
    signed = [Reference(written_secret(key)).sign(made["webhook-id"], AT, body.decode()) for key in (first, second)]
    assert made["webhook-signature"].split(" ") == signed
    assert made["webhook-timestamp"] == str(int(AT.timestamp()))


def test_waits_grow_end_and_are_spread() -> None:
    patience = Patience()
    waits = [patience.wait(Verdict.LATER, tries, timedelta(0), 0.5) for tries in range(1, 10)]
    assert waits[-1] is None
    told = [each for each in waits if each is not None]
    assert told == sorted(told)
    assert len(set(told)) == 8
    for lot, share in ((0.0, 0.8), (1.0, 1.2)):
        assert patience.wait(Verdict.LATER, 1, timedelta(0), lot) == told[0] * share
    assert [patience.wait(Verdict.REFUSED, tries, timedelta(0), 0.5) for tries in (3, 4)] == [told[2], None]
    assert patience.wait(Verdict.LATER, 1, timedelta(hours=2), 0.5) == timedelta(hours=2)
    assert patience.wait(Verdict.LATER, 1, timedelta(days=900), 0.5) == timedelta(days=1)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0), ("", 0), ("120", 120), ("Mon, 01 Mar 2027 08:02:00 GMT", 120), ("Mon, 01 Mar 2027 07:00:00 GMT", 0),
        ("-5", 0), ("soon", 0), ("\u0661", 0), ("9" * 40, 999_999_999),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_receiver_asks_for_seconds_or_for_a_time(said: str | None, seconds: int) -> None:
    assert asked_wait(said, AT) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 202, 204, 299), Verdict.TAKEN),
        ((410,), Verdict.GONE),
        ((None, 408, 425, 429, 500, 503, 599), Verdict.LATER),
        ((100, 301, 307, 400, 401, 404, 413), Verdict.REFUSED),
    ],
    ids=["taken", "gone", "later", "refused"],
)
def test_each_status_means_one_thing(statuses: tuple[int | None, ...], verdict: Verdict) -> None:
    assert {judged(status) for status in statuses} == {verdict}
