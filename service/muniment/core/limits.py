"""How often something may happen before it has to wait.

A rate of ``30/minute`` is thirty at once, and from then on one every two seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from muniment.core.problems import Fault, Invalid

_SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period."""

    amount: int
    period: str = "minute"

    def __str__(self) -> str:
        return f"{self.amount}/{self.period}"

    @property
    def seconds(self) -> int:
        """The period."""
        return _SECONDS[self.period]

    @property
    def step(self) -> float:
        """Seconds after which there is room for one more."""
        return self.seconds / self.amount


@dataclass(frozen=True, slots=True)
class Rates:
    """What the service lets happen.

    ``sign_ins`` and ``failed_sign_ins`` are counted by address; ``refused`` counts answers that
    refuse, by subject where one is signed in, and else by address.
    """

    sign_ins: Rate = Rate(300)
    failed_sign_ins: Rate = Rate(200)
    refused: Rate = Rate(1200)

    def __str__(self) -> str:
        return ", ".join(f"{each.name} {getattr(self, each.name)}" for each in fields(self))


def parse_rate(text: object) -> Rate:
    """The rate that a text such as ``30/minute`` means."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        message = "A rate is a number, a slash, and second, minute, hour or day: 30/minute."
        raise Invalid(message, [Fault("rate", message)])
    return Rate(int(found[1]), found[2])


def rates_from(given: Mapping[str, object]) -> Rates:
    """The rates of a setting: those that it names, and the usual for the others."""
    known = [each.name for each in fields(Rates)]
    for name in given:
        if name not in known:
            message = f"There is no limit {name}; there are {', '.join(known)}."
            raise Invalid(message, [Fault(name, message)])
    return Rates(**{name: parse_rate(text) for name, text in given.items()})
