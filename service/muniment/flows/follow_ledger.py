"""Somebody follows the ledger as it grows: each row that they may read, in the order of commits.

What they may read, and whether their sign-in still stands, is asked again whenever the realm or the roster is another
one, before the next row is told. Who follows holds a place and nothing else here: whoever is slow is told later, and
whoever was cut off goes on from the last place they heard of, with nothing left out and nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from muniment.core.ledger import Event, Outcome, Place, Row, row
from muniment.core.occasions import Occasion
from muniment.core.oversight import Reader, reader_of
from muniment.core.problems import Busy, Fault, Invalid, TokenRefused
from muniment.core.selections import Selection
from muniment.core.sign_ins import SignIn
from muniment.core.subjects import SubjectState
from muniment.flows.house import House, aside
from muniment.store import keys, roster
from muniment.store.present import Now

#: How many may follow in one process, all together and by one subject.
MOST_FOLLOWERS: Final = 500
MOST_OF_ONE: Final = 10

_PAGE: Final = 64
_KEY: Final = "key:"

#: How long it takes at most until somebody notices that the service stops.
_LOOK_SECONDS: Final = 1.0

#: After how long a silent follower is told that there is nothing new.
_SILENCE: Final = timedelta(seconds=15)

#: Rights begin and end by the clock too.
_DECIDED_FOR: Final = timedelta(seconds=1)

#: Rows with the place of each; none says that there is nothing new.
Told = Sequence[tuple[Place, Row]]


@dataclass(frozen=True, slots=True)
class Following:
    """What is followed, from which place on, and whether to go on when nothing more stands there."""

    selection: Selection
    place: Place
    goes_on: bool
    revision: int


@dataclass(slots=True)
class _Right:
    """What the follower may read, as it was decided at a moment."""

    now: Now
    at: datetime
    state: SubjectState
    reader: Reader


class Followers:
    """Counts who follows in one process."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def enter(self, subject: str) -> Seat:
        """One more follows; raises :class:`Busy` where there is no room."""
        if self._of.total() >= MOST_FOLLOWERS or self._of[subject] >= MOST_OF_ONE:
            raise Busy(
                f"As many follow the ledger here as may: {MOST_OF_ONE} of one subject, {MOST_FOLLOWERS} in all. "
                "Close one, or try again in a moment."
            )
        self._of[subject] += 1
        return Seat(self, subject)

    def leave(self, subject: str) -> None:
        """One fewer follows."""
        self._of[subject] -= 1
        if not self._of[subject]:
            del self._of[subject]


class Seat:
    """The place of one who follows, given back once."""

    def __init__(self, followers: Followers, subject: str) -> None:
        self._followers = followers
        self._subject = subject
        self._taken = True

    def leave(self) -> None:
        """Follow no more."""
        if self._taken:
            self._taken = False
            self._followers.leave(self._subject)


async def begin_following(
    house: House, occasion: Occasion, selection: Selection, after: Place | None, *, goes_on: bool
) -> Following:
    """Follow from a place on, or from now; that is recorded before anything is told."""
    realm, end = await house.realms.current(), await house.tail.end()
    if after is not None and after > end:
        # What is written there is counted from before that place again: to go on from it would leave rows out.
        words = "Nothing stands at this place: the ledger was restored from a backup. Begin without it, or before it."
        raise Invalid(words, [Fault("after", words)])
    details: dict[str, object] = {"followed": True, **({"after": after.text} if after is not None else {})}
    for name in ("events", "datasets", "domains"):
        if named := sorted(map(str, getattr(selection, name))):
            details[name] = named
    await house.ledger.record(
        row(occasion, Event.LEDGER_READ, Outcome.ALLOWED, revision=realm.revision, details=details)
    )
    return Following(selection, end if after is None else after, goes_on, realm.revision)


async def follow_ledger(
    house: House, occasion: Occasion, following: Following, clock: Callable[[], datetime], leaving: Callable[[], bool]
) -> AsyncGenerator[Told]:
    """What is new, page by page, until the sign-in is over or the service stops."""
    place, right = following.place, None
    async with house.tail.following():
        heard = clock()
        while not leaving():
            # Read before it is asked who may read: a right that ended before a row was written gives no sight of it.
            page = await house.tail.after(place, _PAGE)
            at = clock()
            if occasion.until is not None and at >= occasion.until:
                return
            now = await house.present.now()
            try:
                right = await _right(house, occasion, right, now, at)
            except TokenRefused:
                return
            told = [each for each in page if right.reader.may_read(each[1]) and following.selection.takes(each[1])]
            if told or not timedelta(0) <= at - heard < _SILENCE:
                yield told
                heard = clock()
            if page:
                place = page[-1][0]
            elif not following.goes_on:
                return
            else:
                await house.tail.news(place, now, _LOOK_SECONDS)


async def _right(house: House, occasion: Occasion, known: _Right | None, now: Now, at: datetime) -> _Right:
    """What the follower may read now; raises :class:`TokenRefused` where the sign-in has been ended."""
    if known is not None and known.now == now and timedelta(0) <= at - known.at < _DECIDED_FOR:
        return known
    state = known.state if known is not None else occasion.asker
    if known is None or known.now.roster != now.roster:
        state = await _admitted(house, occasion)
    realm = await house.realms.current(now.revision)
    reader = await aside(partial(reader_of, realm, state, at))
    return _Right(now, at, state, reader)


async def _admitted(house: House, occasion: Occasion) -> SubjectState:
    """What is known of the follower, by the roster as it is."""
    sign_in = SignIn(
        occasion.asker, occasion.since, occasion.until or occasion.at, occasion.credential, occasion.bounds
    )
    async with house.db.begin() as tx:
        if occasion.credential.startswith(_KEY):
            key = await keys.of_id(tx, occasion.credential.removeprefix(_KEY))
            if key is None or key.ending is not None:
                raise TokenRefused("The key was revoked.")
        place = await roster.place_of(tx, occasion.asker)
    return place.admit(replace(sign_in, state=occasion.asker))
