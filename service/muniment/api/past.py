"""How the past is asked for at the doors: ``at=`` takes a revision or a time."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Query
from pydantic import TypeAdapter, ValidationError

from muniment.api.bodies import Moment
from muniment.core.problems import Fault, Invalid
from muniment.core.visibility import LONGEST_ASKED
from muniment.flows.past import Point

At = Annotated[
    str | None,
    Query(max_length=100, description="As of a revision, such as `412`, or of a time, such as `2027-03-31T00:00:00Z`."),
]
About = Annotated[str | None, Query(max_length=LONGEST_ASKED, description="Another subject, as `user:ann`.")]

_REVISION = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
_MOMENT: TypeAdapter[Moment] = TypeAdapter(Moment)


def read_point(at: str | None) -> Point | None:
    """The revision or the time that ``at=`` means; nothing where it was not given."""
    if at is None:
        return None
    if _REVISION.match(at):
        return int(at)
    try:
        return _MOMENT.validate_python(at)
    except ValidationError:
        message = "at= takes a revision, such as 412, or a time with its zone, such as 2027-03-31T00:00:00Z."
        raise Invalid(message, [Fault("at", message)]) from None
