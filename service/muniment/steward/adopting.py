"""What files say after they have taken over what was changed by hand."""

from __future__ import annotations

from typing import Any

from muniment.core.comparing import ABSENT, Compared, Side


def adopted(compared: Compared) -> dict[str, Any] | None:
    """The fields that a thing's files shall say: those that hands changed as they stand; nothing, if it was ended."""
    assert compared.written is not None  # noqa: S101 - what is adopted stands in a file
    if compared.live is None or compared.live.body is None:
        return None
    by_hand = {each.name: each.stands for each in compared.differences if each.side is not Side.FILES}
    fields = {**compared.written.fields, **by_hand}
    return {name: value for name, value in fields.items() if value is not ABSENT}
