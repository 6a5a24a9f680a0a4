"""What an auditor asks of the ledger, and what a reader may see of it, as conditions on its rows.

Each filter that is not about time has an index, or is told by the time that an id carries (RFC 9562, 5.7), so that no
question reads the whole ledger; the months come one after another, the newest first, until a page is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, all_, any_, false, func, literal, literal_column, select, true

from muniment.core.ledger import Outcome, Question
from muniment.core.oversight import Reader
from muniment.core.subjects import Kind
from muniment.core.tellings import NAMES_DATASETS_ALONE
from muniment.store.tables import ledger

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: How long after its id was made a request may be answered at the latest: its body is waited for meanwhile.
_LONGEST_REQUEST: Final = timedelta(minutes=5)

#: Written out, as its index says it.
_ABOUT: Final[ColumnElement[str]] = literal_column("(ledger.details ->> 'about')", Text)


def conditions(question: Question) -> list[ColumnElement[bool]]:
    """What holds of the rows that answer a question."""
    return [*_of_time(question), *_of_names(question), *_of_things(question)]


def readable(reader: Reader | None) -> list[ColumnElement[bool]]:
    """What :meth:`Reader.may_read` says of a row, for the database: each row that may be read fits one of these.

    They are asked for one by one, since each has an index of its own.
    """
    if reader is None or reader.everything:
        return [true()]
    own = ledger.c.subject == reader.subject
    return [own, ~own & _concerning(reader)] if reader.audited else [own]


def _of_time(question: Question) -> Iterator[ColumnElement[bool]]:
    at = ledger.c.at
    if question.since is not None:
        yield at >= question.since
    if question.until is not None:
        yield at < question.until
    if question.request_id is not None:
        began = _made_at(question.request_id)
        if began is None:
            yield false()
        else:
            yield at >= began
            yield at < began + _LONGEST_REQUEST
            yield ledger.c.request_id == question.request_id


def _of_names(question: Question) -> Iterator[ColumnElement[bool]]:
    columns = ledger.c
    if question.subject is not None:
        yield columns.subject.in_(subjects_named(question.subject))
    if question.about is not None:
        yield _ABOUT.is_not(None)
        yield _ABOUT.in_([question.about])
    if question.events is not None:
        yield columns.event.in_([event.value for event in question.events])
    for name in ("environment", "project", "purpose", "run", "receipt"):
        value = getattr(question, name)
        if value is not None:
            yield columns[name] == value
    if question.address is not None:
        yield columns.address == question.address
    if question.outcome is not None:
        # Written out, as the index of what was denied says it.
        denied = columns.outcome == literal(Outcome.DENIED.value, literal_execute=True)
        yield denied if question.outcome is Outcome.DENIED else columns.outcome == question.outcome


def _of_things(question: Question) -> Iterator[ColumnElement[bool]]:
    if question.dataset is not None:
        yield ledger.c.datasets.contains([question.dataset])
    if question.domain is not None:
        yield _named()
        yield func.ledger_domains(ledger.c.datasets).op("@>")(_texts([question.domain]))
    if question.policy is not None:
        yield func.cardinality(ledger.c.policies) > 0
        yield ledger.c.policies.contains([question.policy])


def _concerning(reader: Reader) -> ColumnElement[bool]:
    """That a row names datasets, all of them in domains that the reader audits, and names nothing else."""
    audited = _texts(sorted(reader.audited))
    name = func.unnest(ledger.c.datasets).column_valued("name")
    elsewhere = select(literal(1)).where(func.ledger_domain(name) != all_(audited)).correlate(ledger).exists()
    events = ledger.c.event == any_(_texts(sorted(event.value for event in NAMES_DATASETS_ALONE)))
    return _named() & func.ledger_domains(ledger.c.datasets).op("&&")(audited) & events & ~elsewhere


def _named() -> ColumnElement[bool]:
    return func.cardinality(ledger.c.datasets) > 0


def _texts(values: list[str]) -> ColumnElement[list[str]]:
    return literal(values, ARRAY(Text))


def subjects_named(name: str) -> list[str]:
    """The subjects that a name may mean: a bare one means a user or a service."""
    if name.partition(":")[0] in set(Kind):
        return [name]
    return [f"{kind}:{name}" for kind in Kind]


def _made_at(id_: UUID) -> datetime | None:
    """The millisecond in which an id was made; nothing where that is no moment of ours."""
    try:
        return _EPOCH + timedelta(milliseconds=id_.int >> 80)
    except OverflowError:
        return None
