"""The shape of the texts: by page, then by place; some places have a text for each of several cases."""

from __future__ import annotations

from collections.abc import Mapping

Texts = Mapping[str, Mapping[str, str | Mapping[str, str]]]
