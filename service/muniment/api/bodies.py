"""What JSON bodies look like at the doors: nothing unknown, nothing read loosely."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from muniment.core.visibility import LONGEST_ASKED

Item = TypeVar("Item")


class Body(BaseModel):
    """A JSON object of which every field is known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Page(Body, Generic[Item]):
    """A page of a list; ``next`` goes into ``after=`` for the following one."""

    items: list[Item]
    next: str | None


def _moment(given: Any) -> datetime:
    if isinstance(given, datetime):
        return given
    try:
        read = datetime.fromisoformat(given)
    except (TypeError, ValueError) as refused:
        raise ValueError("must be a time as RFC 3339 writes it, such as 2027-03-31T00:00:00Z") from refused
    return read


def _zoned(read: datetime) -> datetime:
    if read.tzinfo is None:
        raise ValueError("must say its time zone, such as 2027-03-31T00:00:00Z")
    try:
        return read.astimezone(UTC)
    except OverflowError as refused:
        raise ValueError("must be a time that is in the years 1 to 9999 in UTC too") from refused


#: A moment (RFC 3339) with its time zone.
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_zoned)]

Line = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\r\n]*$")]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\r\n]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ASKED)]

#: A client's name for a run, by which the ledger is asked.
Run = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ASKED, pattern=r"^[^\r\n]+$")]

#: The key after which a page begins.
After = Annotated[str, Query(max_length=LONGEST_ASKED)]

Limit = Annotated[int, Field(ge=1, le=1000, description="How many items at most.")]
