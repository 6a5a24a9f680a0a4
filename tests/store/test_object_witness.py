"""A bucket with object lock keeps checkpoints from everybody, whoever may write there: held against a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from muniment.core.checkpoints import NONE_BEFORE, Checkpoint
from muniment.core.ledger import Place
from muniment.core.merkle import EMPTY
from muniment.identity.seal_keys import SealKey
from muniment.store.witnesses import ObjectWitness, WitnessAway
from tests.store.object_store import ACCESS, REGION, SECRET, client, object_store

pytestmark = pytest.mark.anyio

KEY = SealKey.made()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched, object_store(tmp_path_factory.mktemp("store")) as address:
        patched.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield address


def note(number: int, size: int = 0) -> tuple[int, str]:
    checkpoint = Checkpoint(
        origin=KEY.public.name,
        size=size,
        root=EMPTY,
        number=number,
        at=datetime.now(UTC),
        ids=EMPTY,
        leaves=EMPTY,
        through=Place(1, 1, 1),
        next_xact=2,
        cluster=1,
        after_seq=0,
        previous=NONE_BEFORE,
    )
    return number, KEY.note(checkpoint).text


async def test_what_was_told_is_kept_in_its_order_and_may_be_told_again(store: str) -> None:
    witness = ObjectWitness("audit", "kept/", store, REGION, retain_days=1)
    assert await witness.newest() is None
    told = [note(number) for number in (1, 2, 10)]
    await witness.tell(told[:2])
    await witness.tell(told)
    newest = await witness.newest()
    assert newest is not None
    assert (newest.checkpoint.number, newest.text) == told[-1]
    await witness.tell([eleven := note(11)])
    assert (newest := await witness.newest()) is not None
    assert newest.text == eleven[1]
    assert list(witness.notes()) == [*told, eleven]
    with pytest.raises(WitnessAway, match="keeps another checkpoint 2"):
        await witness.tell([note(2, size=7)])


async def test_nobody_takes_a_checkpoint_away_or_puts_another_in_its_place(store: str) -> None:
    """Not with every right to the bucket: a version below another, or below a mark that hides it, is still read."""
    witness = ObjectWitness("audit", "locked/", store, REGION, retain_days=1)
    first, second = note(1), note(2)
    await witness.tell([first, second])
    owner = client(store)
    keys = [held["Key"] for held in owner.list_objects_v2(Bucket="audit", Prefix="locked/")["Contents"]]
    owner.put_object(Bucket="audit", Key=keys[0], Body=note(1, size=9)[1].encode())
    owner.delete_object(Bucket="audit", Key=keys[1])
    versions = owner.list_object_versions(Bucket="audit", Prefix="locked/")["Versions"]
    locked = [each for each in versions if each["Key"] == keys[0]][-1]
    with pytest.raises(ClientError, match="AccessDenied"):
        owner.delete_object(Bucket="audit", Key=locked["Key"], VersionId=locked["VersionId"])
    with pytest.raises(ClientError, match="AccessDenied"):
        owner.put_object_retention(
            Bucket="audit",
            Key=locked["Key"],
            VersionId=locked["VersionId"],
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(seconds=1)},
        )
    again = ObjectWitness("audit", "locked/", store, REGION, retain_days=1)
    assert list(again.notes()) == [first, second]
    assert (newest := await again.newest()) is not None
    assert newest.text == second[1]


async def test_what_is_no_checkpoint_does_not_keep_the_others_from_being_read(store: str) -> None:
    witness = ObjectWitness("audit", "strewn/", store, REGION, retain_days=1)
    await witness.tell([first := note(1)])
    owner = client(store)
    owner.put_object(Bucket="audit", Key="strewn/checkpoints/readme.txt", Body=b"nothing")
    owner.put_object(Bucket="audit", Key=f"strewn/checkpoints/{7:019}.txt", Body=b"\xff")
    assert list(witness.notes()) == [first, (7, "\ufffd")]


async def test_a_store_that_is_away_is_said_to_be_without_any_secret() -> None:
    witness = ObjectWitness("audit", "", "http://127.0.0.1:1", REGION)
    with pytest.raises(WitnessAway) as away:
        await witness.newest()
    assert SECRET not in str(away.value)
