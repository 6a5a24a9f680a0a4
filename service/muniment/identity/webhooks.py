"""The secrets by which receivers know webhooks: sealed where they are kept, opened where they sign."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from muniment.core.webhooks import Sealed, Secrets
from muniment.identity.envelopes import Envelopes, Slot


def sealed(envelopes: Envelopes, key: UUID, version: int, secret: bytes) -> bytes:
    """A webhook's secret of this version, as it may be kept."""
    return envelopes.sealed(secret, _slot(key, version))


def opened(envelopes: Envelopes, key: UUID, kept: Sealed, at: datetime) -> Secrets:
    """What signs for a webhook at a moment; raises :class:`muniment.identity.envelopes.NotOpened`."""
    present = envelopes.opened(kept.present, _slot(key, kept.version))
    if kept.former is None or kept.former_until is None or kept.former_until <= at:
        return Secrets(present)
    return Secrets(present, envelopes.opened(kept.former, _slot(key, kept.version - 1)))


def _slot(key: UUID, version: int) -> Slot:
    return Slot("webhooks", str(key), "secret", version)
