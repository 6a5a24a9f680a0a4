"""The shape of the texts: by page, then by place; some places have a text for each of several cases."""

from __future__ import annotations

from collections.abc import Mapping

Texts = Mapping[str, Mapping[str, str | Mapping[str, str]]]


def one_of(texts: str | Mapping[str, str], case: str) -> str:
    """The text for one of several cases; a case that there is no text for, as it is."""
    return case if isinstance(texts, str) else texts.get(case, case)
