"""A name means one issuer, for ever."""

import pytest

from muniment.core.problems import CannotStart
from muniment.store import issuers

pytestmark = pytest.mark.anyio

CORP = {"corp": "https://login.example.com"}


async def test_the_same_issuers_are_accepted_at_every_start(tx):
    await issuers.hold(tx, CORP)
    await issuers.hold(tx, CORP)


async def test_further_issuers_may_come_and_go(tx):
    await issuers.hold(tx, CORP)
    await issuers.hold(tx, CORP | {"partner": "https://partner.example.com"})
    await issuers.hold(tx, CORP)


async def test_a_name_cannot_come_to_mean_another_issuer(tx):
    await issuers.hold(tx, CORP)
    with pytest.raises(CannotStart, match=r"set https://login.example.com again, or give the new issuer a name"):
        await issuers.hold(tx, {"corp": "https://evil.example.com"})


async def test_a_name_stays_taken_when_its_issuer_is_no_longer_configured(tx):
    await issuers.hold(tx, CORP)
    await issuers.hold(tx, {"partner": "https://partner.example.com"})
    with pytest.raises(CannotStart, match=r"'corp' in MUNIMENT_ISSUERS was https://login\.example\.com"):
        await issuers.hold(tx, {"corp": "https://evil.example.com"})


async def test_an_issuer_cannot_be_renamed(tx):
    await issuers.hold(tx, CORP)
    with pytest.raises(CannotStart, match="name it 'corp' again"):
        await issuers.hold(tx, {"company": "https://login.example.com"})


async def test_the_names_of_all_that_were_ever_configured_are_known(tx):
    await issuers.hold(tx, CORP)
    await issuers.hold(tx, {"partner": "https://partner.example.com"})
    assert await issuers.names(tx) == {"corp", "partner"}
