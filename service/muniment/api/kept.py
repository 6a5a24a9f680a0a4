"""What is kept in files in git, as the doors tell it."""

from __future__ import annotations

from muniment.api.bodies import Body
from muniment.core.kept import Kept


class KeptInBody(Body):
    """The source in whose files fields are kept, each with the version at which it was what the files said."""

    source: str
    fields: dict[str, int]


def kept_in(kept: Kept | None) -> KeptInBody | None:
    """What is kept in files of a thing."""
    return KeptInBody(source=kept.source, fields=dict(sorted(kept.fields.items()))) if kept else None
