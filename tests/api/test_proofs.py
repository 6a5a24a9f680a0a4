"""Whoever may read a row can prove it to others, and whoever keeps a checkpoint can hold the ledger to it."""

from __future__ import annotations

import base64
import hashlib
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from muniment.core.checkpoints import Note, VerifierKey
from muniment.core.merkle import leaf_hash, proves_consistency, proves_inclusion
from muniment.flows.seal_ledger import seal_once
from muniment.identity.seal_keys import SealKeys, holds
from tests.api.running import Running, refusal

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SealKeys:
    made = SealKeys(Path(tmp_path_factory.mktemp("seals")) / "seals.key")
    made.made()
    return made


async def sealed(service: Running, keys: SealKeys) -> None:
    await seal_once(service.app.state.house.db, keys)


async def checkpoint(service: Running) -> Note:
    answer = await service.nobody.get("/v1/ledger/checkpoint")
    assert answer.status_code == 200, answer.text
    return Note.parse(answer.text)


async def receipt_of_a_catalog(service: Running) -> str:
    answer = await service.ann.get("/v1/catalog?environment=dev")
    return answer.headers["muniment-receipt"]


async def test_a_receipt_is_proved_against_a_checkpoint_that_anybody_may_have(service: Running, keys: SealKeys) -> None:
    receipt = await receipt_of_a_catalog(service)
    await sealed(service, keys)
    proof = await service.ann.read(f"/v1/ledger/proofs/inclusion?receipt={receipt}")
    (key,) = (await service.nobody.read("/v1/ledger/keys"))["keys"]
    note = Note.parse(proof["checkpoint"])
    assert note.is_signed_by(VerifierKey.parse(key["key"]), holds)
    path = [bytes.fromhex(each) for each in proof["path"]]
    leaf = leaf_hash(proof["entry"].encode())
    assert proves_inclusion(leaf, proof["index"], note.checkpoint.size, note.checkpoint.root, path)
    other = leaf_hash(proof["entry"].replace("allowed", "denied").encode())
    assert not proves_inclusion(other, proof["index"], note.checkpoint.size, note.checkpoint.root, path)

    row = (await service.ann.read(f"/v1/ledger?receipt={receipt}&subject=user:ann"))["items"][0]
    entry = orjson.loads(proof["entry"])
    assert entry["receipt"] == receipt
    who = {name: row[name] for name in ("subject", "subject_state", "address", "client", "credential")}
    committed = bytes.fromhex(proof["salt"])[:16] + orjson.dumps(who, option=orjson.OPT_SORT_KEYS)
    assert hashlib.sha256(committed).hexdigest() == entry["who"]


async def test_a_ledger_that_grew_is_proved_to_be_the_one_it_was(service: Running, keys: SealKeys) -> None:
    await receipt_of_a_catalog(service)
    await sealed(service, keys)
    before = (await checkpoint(service)).checkpoint
    for _ in range(5):
        await receipt_of_a_catalog(service)
    await sealed(service, keys)
    after = (await checkpoint(service)).checkpoint
    proof = await service.eve.read(f"/v1/ledger/proofs/consistency?first={before.size}&second={after.size}")
    path = [bytes.fromhex(each) for each in proof["path"]]
    assert proves_consistency((before.size, before.root), (after.size, after.root), path)
    refusal(await service.eve.get(f"/v1/ledger/proofs/consistency?first=1&second={after.size + 1000}"), 422)


async def test_nobody_gets_a_proof_of_a_row_that_they_may_not_read(service: Running, keys: SealKeys) -> None:
    receipt = await receipt_of_a_catalog(service)
    await sealed(service, keys)
    hidden = refusal(await service.eve.get(f"/v1/ledger/proofs/inclusion?receipt={receipt}"), 404)
    nowhere = refusal(
        await service.eve.get("/v1/ledger/proofs/inclusion?receipt=019d6a9e-0000-7000-8000-000000000000"), 404
    )
    assert hidden == nowhere
    assert (await service.audrey.get(f"/v1/ledger/proofs/inclusion?receipt={receipt}")).status_code == 200


async def test_a_row_that_is_not_sealed_yet_says_so(service: Running, keys: SealKeys) -> None:
    await sealed(service, keys)
    receipt = await receipt_of_a_catalog(service)
    said = refusal(await service.ann.get(f"/v1/ledger/proofs/inclusion?receipt={receipt}"), 409)
    assert "not sealed yet" in said["detail"]
    refusal(await service.ann.get("/v1/ledger/proofs/inclusion"), 422)


async def test_seals_are_listed_in_their_order_and_that_is_recorded(service: Running, keys: SealKeys) -> None:
    await receipt_of_a_catalog(service)
    await sealed(service, keys)
    pages, after = [], "0"
    while after is not None:
        page = await service.eve.read(f"/v1/ledger/seals?limit=2&after={after}")
        pages += page["items"]
        after = page["next"]
    notes = [Note.parse(each["checkpoint"]) for each in pages]
    assert [each["number"] for each in pages] == list(range(1, len(pages) + 1))
    assert all(later.checkpoint.previous == note.sha256 for note, later in pairwise(notes))
    assert notes[-1] == await checkpoint(service)
    rows = (await service.eve.read("/v1/ledger?event=ledger.read&subject=user:eve"))["items"]
    assert {"seals": 0} in [row["details"] for row in rows]


async def test_a_ledger_that_was_never_sealed_has_no_checkpoint(fresh: Running) -> None:
    refusal(await fresh.nobody.get("/v1/ledger/checkpoint"), 404)
    assert (await fresh.nobody.read("/v1/ledger/keys")) == {"keys": []}


async def test_a_checkpoint_is_what_tools_of_transparency_logs_read(service: Running, keys: SealKeys) -> None:
    """C2SP, signed-note and tlog-checkpoint, by their words and by nothing of ours."""
    await receipt_of_a_catalog(service)
    await sealed(service, keys)
    text = (await service.nobody.get("/v1/ledger/checkpoint")).text
    body, _, signatures = text.partition("\n\n")
    origin, size, root, *_ = body.split("\n")
    (line,) = signatures.splitlines()
    dash, name, signature = line.split(" ")
    decoded = base64.b64decode(signature)
    (key,) = (await service.nobody.read("/v1/ledger/keys"))["keys"]
    vname, vid, vkey = key["key"].split("+", 2)
    assert (dash, name, vname) == ("—", origin, origin)
    assert decoded[:4].hex() == vid
    assert hashlib.sha256(vname.encode() + b"\n" + base64.b64decode(vkey)).digest()[:4] == decoded[:4]
    assert int(size) > 0
    assert len(base64.b64decode(root)) == 32
    assert holds(base64.b64decode(vkey)[1:], (body + "\n").encode(), decoded[4:])
