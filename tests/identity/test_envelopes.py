"""Sealed secrets: they open in their own place, under their own secret, and show nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muniment.identity.envelopes import Envelopes, NotOpened, Slot

SLOT = Slot("webhooks", "0199e8f2-5d3c-7c1e-9a57-1f2e3d4c5b6a", "secret", 3)
PLAIN = b"what signs for the receiver"


def test_what_is_sealed_opens_in_its_place_and_shows_nothing() -> None:
    envelopes = Envelopes(b"a secret of the service's own, here")
    first, second = envelopes.sealed(PLAIN, SLOT), envelopes.sealed(PLAIN, SLOT)
    assert envelopes.opened(first, SLOT) == envelopes.opened(second, SLOT) == PLAIN
    assert first != second
    assert PLAIN not in first


@pytest.mark.parametrize(
    "change", [{"table": "keys"}, {"key": "another"}, {"field": "former"}, {"version": 2}], ids=lambda c: next(iter(c))
)
def test_it_opens_nowhere_else(change: dict[str, object]) -> None:
    """Seen to fail with each of the four left out of what is bound."""
    envelopes = Envelopes(b"a secret of the service's own, here")
    with pytest.raises(NotOpened):
        envelopes.opened(envelopes.sealed(PLAIN, SLOT), replace(SLOT, **change))  # type: ignore[arg-type]


def test_it_opens_under_no_other_secret_and_not_when_it_was_changed() -> None:
    envelopes = Envelopes(b"a secret of the service's own, here")
    sealed = envelopes.sealed(PLAIN, SLOT)
    with pytest.raises(NotOpened):
        Envelopes(b"another secret of another service..").opened(sealed, SLOT)
    for place in range(len(sealed)):
        with pytest.raises(NotOpened):
            envelopes.opened(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], SLOT)
    for short in (b"", sealed[:20]):
        with pytest.raises(NotOpened):
            envelopes.opened(short, SLOT)
