"""Bodies are held by their tags as long as there is room, and their digests for longer."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc

import pytest
import zstandard

from muniment.core.codings import Bodies, Body, Digests

TEXT = b'{"catalog":{}}' * 200


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
def test_the_digest_is_of_what_is_read_in_whatever_coding_it_travels(coding):
    body = Body.of(TEXT, coding)
    read = {
        "identity": bytes,
        "gzip": gzip.decompress,
        "zstd": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
    }[coding]
    assert read(body.encoded) == TEXT
    assert body.sha256 == hashlib.sha256(TEXT).hexdigest()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_that_is_held_takes_the_memory_that_is_counted_and_no_room_for_a_worse_case(coding):
    text = TEXT * 100
    tracemalloc.start()
    try:
        held = [Body.of(text, coding) for _ in range(10)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < sum(len(body.encoded) + 1024 for body in held)


def test_bodies_that_nobody_asked_for_longest_go_first():
    bodies = Bodies(30)
    for tag in ("a", "b", "c"):
        bodies.put(tag, Body(b"0123456789", tag))
    assert bodies.get("a") is not None
    bodies.put("d", Body(b"0123456789", "d"))
    assert [tag for tag in "abcd" if bodies.get(tag)] == ["a", "c", "d"]
    bodies.put("e", Body(b"0" * 31, "e"))
    assert bodies.get("e") is None


def test_so_many_digests_are_held_and_the_latest_stay():
    digests = Digests(2)
    for tag in ("a", "b"):
        digests.put(tag, f"of {tag}")
    assert digests.get("a") == "of a"
    digests.put("c", "of c")
    assert [digests.get(tag) for tag in "abc"] == ["of a", None, "of c"]
