"""Legal holds: rows of the ledger that must stay as they are, whatever retention or a person's request says.

A hold is a row of the ledger itself, and so is its release: who put it there, and why, is
kept as everything else is. It holds all rows, or those of a time, of a subject or about a
dataset; what several of these say of it narrows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muniment.core.ledger import Event, Row
from muniment.core.moments import write_moment
from muniment.core.problems import Fault, Invalid
from muniment.core.subjects import Subject

#: The longest reason.
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held, since when and why; ``since`` and ``until`` are the time of the rows, without its end."""

    id: UUID
    at: datetime
    because: str
    account: str = ""
    since: datetime | None = None
    until: datetime | None = None
    subject: str | None = None
    dataset: str | None = None

    def overlaps(self, begin: datetime, end: datetime) -> bool:
        """Whether rows of a time could be held."""
        return (self.since is None or self.since < end) and (self.until is None or begin < self.until)

    def lies_in(self, begin: datetime, end: datetime) -> bool:
        """Whether the hold itself stands in rows of a time: it goes on as long as they do."""
        return begin <= self.at < end

    @property
    def told(self) -> Mapping[str, object]:
        """What the details of its row say."""
        return {
            "because": self.because,
            "account": self.account,
            **{name: write_moment(at) for name in ("since", "until") if (at := getattr(self, name)) is not None},
            **{name: text for name in ("subject", "dataset") if (text := getattr(self, name)) is not None},
        }

    @property
    def words(self) -> str:
        """What it holds, for people."""
        parts = [
            f"of {self.subject}" if self.subject else "",
            f"about {self.dataset}" if self.dataset else "",
            f"from {write_moment(self.since)} on" if self.since else "",
            f"until {write_moment(self.until)}" if self.until else "",
        ]
        return " ".join(["the rows", *filter(None, parts)]) if any(parts) else "the whole ledger"


def checked(hold: Hold) -> Hold:
    """The hold, if it can be one; raises :class:`Invalid` for one that holds nothing or says no reason."""
    reason_checked(hold.because)
    if hold.since is not None and hold.until is not None and hold.since >= hold.until:
        message = "The time that is held ends before it begins, so nothing would be held."
        raise Invalid(message, [Fault("until", message)])
    if hold.subject is not None:
        Subject.parse(hold.subject)
    return hold


def reason_checked(because: str) -> str:
    """The reason, if there is one."""
    if not because.strip() or len(because) > LONGEST_REASON:
        message = f"Say why, in at most {LONGEST_REASON} characters; it stands in the ledger."
        raise Invalid(message, [Fault("because", message)])
    return because


def standing(rows: Iterable[Row]) -> Sequence[Hold]:
    """The holds that rows tell of, and that no other of them released; the oldest first."""
    held: dict[str, Hold] = {}
    released: set[str] = set()
    for row in rows:
        if row.event is Event.LEDGER_HELD:
            held[str(row.id)] = _read(row)
        elif row.event is Event.LEDGER_RELEASED:
            released.add(str(row.details.get("hold")))
    return sorted((hold for id_, hold in held.items() if id_ not in released), key=lambda hold: (hold.at, hold.id))


def _read(row: Row) -> Hold:
    told = {name: str(value) for name, value in row.details.items()}
    times = {name: datetime.fromisoformat(told[name]) for name in ("since", "until") if name in told}
    return Hold(
        row.id,
        row.at,
        told.get("because", ""),
        told.get("account", ""),
        since=times.get("since"),
        until=times.get("until"),
        subject=told.get("subject"),
        dataset=told.get("dataset"),
    )
