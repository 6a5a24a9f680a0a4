"""Promise 9, the service's half: no token and no secret is in an answer, a log, the ledger or the database.

Seen to fail with the `Authorization` header put into a row's `client`, and with the token in the words of a refusal.
"""

from __future__ import annotations

import logging

import psycopg
import pytest

from muniment.identity.bearer import Bearer
from tests.api.running import Caller, Running, csv, refusal
from tests.owning import libpq

pytestmark = pytest.mark.anyio

#: Secrets that a definition might bring, each in a way in which people have written them.
SECRETS = {
    "credentials in place of their name": {"credentials": {"key": "s3cr3t-value-1", "secret": "s3cr3t-value-2"}},
    "a password among the arguments": {"load_args": {"password": "s3cr3t-value-1"}},
    "a token in the options of storage": {"fs_args": {"token": "s3cr3t-value-1"}},
    "a key of a cloud": {"metadata": {"note": "AKIAIOSFODNN7EXAMPLE"}},
    "a signature in the address": {"filepath": "s3://lake/sales/x.csv?sig=s3cr3t-value-1"},
    "a password in the address": {"filepath": "s3://user:s3cr3t-value-1@lake/sales/x.csv"},
    "a variable of the reader's environment": {"load_args": {"sep": "${oc.env:SECRET}"}},
}


def kept(service: Running) -> str:
    """Everything that the database holds, as text."""
    with psycopg.connect(libpq(service.url)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT t::text FROM "{table}" AS t').fetchall() for (table,) in tables]  # type: ignore[arg-type]
    return "\n".join(row for found in rows for (row,) in found)


async def test_no_part_of_a_token_is_told_logged_or_kept(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good = service.issuer.token("ann")
    broken = f"{good[:-12]}{'A' * 12}"
    answers = []
    for token in (good, broken):
        caller = Caller(service.http, token)
        answers += [await caller.get(path) for path in ("/v1/leases?environment=dev", "/v1/whoami", "/v1/datasets")]
        answers.append(await caller.post("/v1/preflight", {"environment": "dev", "load": ["sales.orders"]}))
        answers.append(await caller.put("/v1/datasets/sales.orders", {}, after=1))
    await service.app.state.doorkeeper._refusals.flush()

    given = "\n".join(answer.text + str(answer.headers) for answer in answers)
    everything = {"answers": given, "log": caplog.text, "database": kept(service)}
    for part in (*good.split(".")[1:], broken.rpartition(".")[2]):
        for where, text in everything.items():
            assert part[-32:] not in text, where


@pytest.mark.parametrize("what", SECRETS)
async def test_a_secret_in_a_definition_is_refused_and_neither_told_nor_kept(
    service: Running, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    definition = {**csv("s3://lake/sales/secret.csv"), **SECRETS[what]}

    answer = await service.sam.put("/v1/datasets/sales.secret", {"environments": {"base": definition}}, after=0)

    refusal(answer, 422)
    for text in (answer.text, caplog.text, kept(service)):
        assert "s3cr3t-value" not in text
        assert "AKIAIOSFODNN7EXAMPLE" not in text


async def test_a_name_of_credentials_is_no_secret(service: Running) -> None:
    body = {"environments": {"base": csv("s3://lake/sales/named.csv", credentials="lake")}}
    made = await service.sam.put("/v1/datasets/sales.named", body, after=0)
    assert made.status_code == 201, made.text


async def test_what_remembers_tokens_shows_none(service: Running) -> None:
    token = service.issuer.token("ann")
    await Caller(service.http, token).get("/v1/whoami")
    bearer = service.app.state.doorkeeper._bearer
    assert isinstance(bearer, Bearer)
    assert token not in repr(vars(bearer))
    assert token.rpartition(".")[2] not in repr(vars(bearer))
