"""Decisions computed again from what the ledger recorded, to be compared with what was given then.

A decision is a pure function of a revision, a subject state and a request, and a row of the
ledger holds all three. What was decided has a digest in the row; the same evaluator must
come to the same digest, however much has changed since. A row that was tampered with does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Final
from uuid import UUID

from muniment.core import catalog as catalogs
from muniment.core.catalog import Catalog
from muniment.core.decisions import EVALUATOR, Wanted, decide_each, list_all
from muniment.core.evaluations import Question, answer_each
from muniment.core.explanations import in_force
from muniment.core.findings import find_actions, find_subjects, find_things, found_of
from muniment.core.judgements import Judged, digest, digest_of_answers, digest_of_lease, judged
from muniment.core.ledger import Event, Row
from muniment.core.occasions import Occasion
from muniment.core.past import Standpoint, catalog_from, told
from muniment.core.realm import Realm
from muniment.core.recorded_questions import Sought, line_of, read_question
from muniment.core.requests import AccessRequest, right_to_decide
from muniment.core.schema import DATA_ACTIONS, Action
from muniment.core.seals import ERASED
from muniment.core.searches import Deed, Governing, Use, who_may
from muniment.core.subjects import Subject, SubjectState
from muniment.core.visibility import find_each, withheld

#: The decisions that are made in an environment, and say in which.
_IN_AN_ENVIRONMENT = frozenset(
    {
        Event.CATALOG_SERVED,
        Event.LEASE_SERVED,
        Event.PREFLIGHT_ALLOWED,
        Event.ACCESS_DENIED,
        Event.ACCESS_EXPLAINED,
    }
)

#: The decisions of approvers: whether they may decide on a request as it stood.
_OF_REQUESTS = frozenset({Event.REQUEST_SECONDED, Event.REQUEST_APPROVED, Event.REQUEST_DENIED})

#: The events whose rows hold a decision; those of ``access.denied`` do when a run was denied.
DECISIONS: Final = _IN_AN_ENVIRONMENT | _OF_REQUESTS | {Event.ACCESS_EVALUATED, Event.ACCESS_SEARCHED}

_MADE = "It tells what was made; the lines keep that, version by version, and each of its revisions can be asked."
_READ = "It tells what was looked at; what somebody may know of is decided anew at each look, and nothing was given."
_SIGN_IN = "It tells who may sign in, with what, or as a member of which group; no policy about data was asked."
_KEPT = "It tells what whoever keeps the ledger did with its rows; no policy was asked."
_TOLD = "It tells where events or notices go; what each receiver may see was decided as it was told."
_KEPT_QUESTION = "It tells of a question that somebody keeps; each answer to it is a row of its own."
_CLAIMED = "It tells what a client says; what it was given is in the row of the lease, which has the same receipt."

#: Why the rows of the other events hold no decision that could be computed again.
NO_DECISIONS: Final[Mapping[Event, str]] = MappingProxyType(
    {
        Event.DATASET_DECLARED: _MADE,
        Event.DATASET_RETIRED: _MADE,
        Event.DOMAIN_CHANGED: _MADE,
        Event.ENVIRONMENT_CHANGED: _MADE,
        Event.GROUP_CHANGED: _MADE,
        Event.POLICY_CHANGED: _MADE,
        Event.POLICY_ENDED: _MADE,
        Event.GRANT_MADE: _MADE,
        Event.GRANT_ENDED: _MADE,
        Event.ACCESS_REVIEWED: _MADE,
        Event.SUBJECT_HANDED_OVER: _MADE,
        Event.REALM_APPLIED: _MADE,
        Event.BOOTSTRAPPED: "The operator decided it, by a setting or a link; there were no policies yet.",
        Event.GLASS_BROKEN: "The operator decided beforehand who may do so; the lines keep the grant that it made.",
        Event.KEY_MADE: _SIGN_IN,
        Event.KEY_REVOKED: _SIGN_IN,
        Event.USER_PROVISIONED: _SIGN_IN,
        Event.GROUP_PROVISIONED: _SIGN_IN,
        Event.SUBJECT_DEPROVISIONED: _SIGN_IN,
        Event.SESSION_BEGAN: _SIGN_IN,
        Event.SESSION_ENDED: _SIGN_IN,
        Event.SUBJECT_ENDED: _SIGN_IN,
        Event.SUBJECT_ADMITTED: _SIGN_IN,
        Event.SIGN_INS_ENDED: _SIGN_IN,
        Event.CHANGE_REFUSED: "It tells that nothing was made; what was refused is not kept.",
        Event.CHANGE_TRIED: "It tells what rules would do that were not in force; they are not kept.",
        Event.REQUEST_MADE: "It asks; the decision is the approver's, in a row of its own.",
        Event.REQUEST_WITHDRAWN: "Whoever made a request may take it back, whatever the policies say.",
        Event.DEPUTY_NAMED: "Whoever decides on requests may name a deputy; what that one may do is decided each time.",
        Event.DEPUTY_ENDED: "Whoever named a deputy may end it; what a deputy may do is decided each time.",
        Event.DATASET_READ: _READ,
        Event.PROJECT_STARTED: _READ,
        Event.RULES_READ: _READ,
        Event.REQUEST_READ: _READ,
        Event.KEY_READ: _READ,
        Event.PROVISIONING_READ: _READ,
        Event.SUBJECT_READ: _READ,
        Event.LEDGER_READ: _READ,
        Event.LEDGER_EXPORTED: _READ,
        Event.LEDGER_HELD: _KEPT,
        Event.LEDGER_RELEASED: _KEPT,
        Event.LEDGER_RETIRED: _KEPT,
        Event.LEDGER_ERASED: _KEPT,
        Event.SEAL_KEY_ROTATED: _KEPT,
        Event.RESTORE_ACCEPTED: _KEPT,
        Event.VIEW_SAVED: _KEPT_QUESTION,
        Event.VIEW_REMOVED: _KEPT_QUESTION,
        Event.DECISION_REPLAYED: _READ,
        Event.USE_REPORTED: _CLAIMED,
        Event.REFUSAL_REPORTED: _CLAIMED,
        Event.WEBHOOK_CHANGED: _TOLD,
        Event.WEBHOOK_ENDED: _TOLD,
        Event.WEBHOOK_STOPPED: _TOLD,
        Event.WEBHOOK_SECRET_CHANGED: _TOLD,
        Event.WEBHOOK_REPLAYED: _TOLD,
        Event.WEBHOOK_TESTED: _TOLD,
        Event.WEBHOOK_READ: _READ,
        Event.NOTICE_SENT: _TOLD,
        Event.NOTICES_READ: _READ,
        Event.NOTICES_CHOSEN: _TOLD,
        Event.SIGN_IN_REFUSED: "It counts who was not let in; no policy was asked.",
    }
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a decision was made about beside the realm and the subject.

    ``states`` are those that the row names, by digest; ``known`` those of all of whom it is
    certain how they were known then; ``request`` is the one that was decided on, as it stood.
    """

    states: Mapping[str, SubjectState] = field(default_factory=dict)
    known: Sequence[SubjectState] = ()
    request: AccessRequest | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a row recorded of a decision, and from where it was made.

    ``there`` is the standpoint of the decision; ``asker`` is who asked, as known then;
    ``reader`` the standpoint by which it was cut to what might be told, where that was another.
    """

    row: Row
    there: Standpoint
    asker: SubjectState
    reader: Standpoint | None = None
    beside: Beside = field(default_factory=Beside)

    @property
    def wanted(self) -> Wanted:
        """What was asked about."""
        return Wanted(self.row.environment or "", self.row.project, self.row.purpose)

    @property
    def occasion(self) -> Occasion:
        """The request that was answered."""
        return Occasion(self.asker, self.row.at, self.row.request_id or UUID(int=0))


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision computed again. ``fault`` says why it could not be, where it could not."""

    row: Row
    computed: str | None
    judged: tuple[Judged, ...] = ()
    fault: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the decision is the one that was recorded."""
        return self.computed is not None and self.computed == self.row.decided_sha256

    @property
    def same_evaluator(self) -> bool:
        """Whether the evaluator of today is the one that decided."""
        return self.row.evaluator == EVALUATOR


def holds_decision(row: Row) -> bool:
    """Whether a row tells of a decision that can be computed again; a refusal of something else is none."""
    return row.event in DECISIONS and "problem" not in row.details


def flaw_of(row: Row) -> str | None:
    """What a row of a decision lacks to be computed again, if anything."""
    if row.subject == ERASED:
        return "Who asked was erased, so what was known of them is gone (ledger.erased says why)."
    if row.details.get("erased") is True:
        return "What the row tells was erased, since it named somebody (ledger.erased says why)."
    if row.revision is None or (row.environment is None and row.event in _IN_AN_ENVIRONMENT):
        return "The row does not say what was asked."
    if row.decided_sha256 is None:
        return "The row holds no digest of what was decided."
    return None


def replay(recorded: Recorded) -> Replayed:
    """Compute a recorded decision again."""
    row = recorded.row
    match row.event:
        case Event.CATALOG_SERVED:
            catalog = _catalog(recorded)
            return Replayed(row, catalog.sha256, tuple(_given(catalog)))
        case Event.LEASE_SERVED:
            return _lease(recorded)
        case Event.ACCESS_EVALUATED:
            return _replayed(recorded, _evaluated, digest_of_answers)
        case Event.ACCESS_SEARCHED:
            return _replayed(recorded, _searched, digest_of_answers)
        case Event.ACCESS_EXPLAINED:
            return _replayed(recorded, _explained, digest)
        case Event.REQUEST_SECONDED | Event.REQUEST_APPROVED | Event.REQUEST_DENIED:
            return _replayed(recorded, _decided_on_request, digest)
        case _:
            return _replayed(recorded, _preflighted, digest)


def _replayed(
    recorded: Recorded, found: Callable[[Recorded], Iterable[Judged]], digested: Callable[[Iterable[Judged]], str]
) -> Replayed:
    lines = tuple(found(recorded))
    return Replayed(recorded.row, digested(lines), lines)


def _catalog(recorded: Recorded) -> Catalog:
    row, there = recorded.row, recorded.there
    catalog = catalog_from(there, recorded.wanted, None if _whole(row) else row.datasets)
    if recorded.reader is None:
        return catalog
    own = there.asker.subject == recorded.reader.asker.subject
    return told(catalog, there.realm, recorded.reader, own=own)


def _whole(row: Row) -> bool:
    return not row.datasets and "named" not in row.details


def _lease(recorded: Recorded) -> Replayed:
    """A lease: its catalog, and the patterns that a whole one names."""
    row, there, wanted = recorded.row, recorded.there, recorded.wanted
    catalog = _catalog(recorded)
    if "patterns" not in row.details:
        # Written before the digest of a lease was over more than its catalog.
        return Replayed(row, catalog.sha256, tuple(_given(catalog)))
    patterns = (
        catalogs.patterns_of(there.realm, list_all(there.realm, there.asker, wanted, there.at), wanted)
        if _whole(row)
        else {}
    )
    lines = [*_given(catalog), *(_line(there.realm, name, action) for name in patterns for action in patterns[name])]
    return Replayed(row, digest_of_lease(catalog.sha256, patterns), tuple(lines))


def _line(realm: Realm, pattern: str, action: Action) -> Judged:
    return Judged(pattern, action, known=True, allowed=True, version=realm.datasets[pattern].version)


def _given(catalog: Catalog) -> Iterable[Judged]:
    for entry in catalog.entries:
        for action in entry.actions:
            yield Judged(
                entry.dataset.name,
                action,
                known=True,
                allowed=True,
                obligations=entry.obligations,
                version=entry.dataset.version,
            )


def _evaluated(recorded: Recorded) -> Iterable[Judged]:
    asked = recorded.row.details.get("evaluations")
    questions = [read_question(each) for each in asked] if isinstance(asked, list) else []
    named, states = _about_states(recorded.row), recorded.beside.states
    about = {Subject.parse(name): states[address] for name, address in named.items()}
    if any(state.subject != subject for subject, state in about.items()):
        raise ValueError(recorded.row.id)
    answers = answer_each(recorded.there.realm, recorded.occasion, about, questions)
    return (line_of(question, answer) for question, answer in zip(questions, answers, strict=True))


def _searched(recorded: Recorded) -> Iterable[Judged]:
    """What was found, as much of it as was given."""
    details = recorded.row.details
    limit, after = details.get("limit"), details.get("after")
    if not isinstance(limit, int) or not isinstance(after, str):
        raise ValueError(recorded.row.id)  # noqa: TRY004 - what a row holds is a value, whatever its type
    return islice(_all_found(recorded, Sought(str(details.get("for"))), after), limit)


def _all_found(recorded: Recorded, sought: Sought, after: str) -> Iterable[Judged]:
    row, realm, occasion = recorded.row, recorded.there.realm, recorded.occasion
    if "thing" not in row.details:
        return _who(recorded, after)
    question = _question(recorded)
    if sought is Sought.SUBJECTS:
        kind = row.details.get("kind")
        states = {state.subject.id: state for state in _looked_at(recorded) if state.subject.kind.value == kind}
        return find_subjects(realm, occasion, question, [states[id_] for id_ in sorted(states) if id_ > after])
    about = recorded.there.asker if "about_state" in row.details else None
    if about is not None and about.subject != question.about:
        raise ValueError(row.id)
    found = find_things if sought is Sought.THINGS else find_actions
    return found(realm, occasion, question, about, after)


def _question(recorded: Recorded) -> Question:
    row = recorded.row
    said = {"environment": row.environment, "project": row.project, "purpose": row.purpose}
    return read_question({**row.details, **said})


def _who(recorded: Recorded, after: str) -> Iterable[Judged]:
    """Those who may, of all who were known."""
    there, deed = recorded.there, _deed(recorded)
    states = {str(state.subject): state for state in _looked_at(recorded)}
    asked = [states[name] for name in sorted(states) if name > after]
    return (found_of(deed, about, decision.because) for about, decision in who_may(there.realm, asked, there.at, deed))


def _deed(recorded: Recorded) -> Deed:
    row, realm = recorded.row, recorded.there.realm
    action = Action(str(row.details.get("action")))
    (dataset,) = (realm.resolve(name) for name in row.datasets) if row.datasets else (None,)
    if dataset is not None:
        return Use(action, dataset, recorded.wanted) if action in DATA_ACTIONS else Governing(action, dataset)
    if row.datasets or action in DATA_ACTIONS:
        raise ValueError(row.id)
    return Governing(action, str(row.details.get("domain")))


def _looked_at(recorded: Recorded) -> Iterable[SubjectState]:
    """All who were asked about: those who were found as the row says, all others as they were known."""
    found = [recorded.beside.states[digest] for digest in _found_states(recorded.row)]
    named = {state.subject for state in found}
    return [*found, *(state for state in recorded.beside.known if state.subject not in named)]


def _decided_on_request(recorded: Recorded) -> Iterable[Judged]:
    request = recorded.beside.request
    if request is None:
        raise ValueError(recorded.row.id)
    principals = tuple(recorded.beside.states.values())
    return right_to_decide(recorded.there.realm, recorded.asker, recorded.row.at, request, principals)


def _explained(recorded: Recorded) -> Iterable[Judged]:
    there, wanted = recorded.there, recorded.wanted
    action = Action(str(recorded.row.details.get("action")))
    for name in recorded.row.datasets:
        dataset = there.realm.resolve(name)
        if dataset is None:
            yield Judged(name, action, known=False, allowed=False)
            continue
        (decided,) = decide_each(there.realm, there.asker, wanted, there.at, [dataset])
        decision = in_force(decided, action)
        allowed = decision.allowed and not withheld(there.realm, there.asker, there.at, dataset, wanted, action)
        yield judged(name, action, decision, allowed=allowed)


def _preflighted(recorded: Recorded) -> Iterable[Judged]:
    there, wanted = recorded.there, recorded.wanted
    realm, asker, at = there.realm, there.asker, there.at
    asked = [(name, action) for action in (Action.LOAD, Action.SAVE) for name in _names(recorded.row, action)]
    known = find_each(realm, asker, at, {name: None for name, _ in asked}, wanted)
    datasets = [dataset for dataset in known.values() if dataset is not None]
    decided = dict(zip((d.name for d in datasets), decide_each(realm, asker, wanted, at, datasets), strict=True))
    for name, action in asked:
        dataset = known[name]
        if dataset is None:
            yield Judged(name, action, known=False, allowed=False)
            continue
        decision = in_force(decided[name], action)
        allowed = decision.allowed and not withheld(realm, asker, at, dataset, wanted, action)
        yield judged(name, action, decision, allowed=allowed)


def _names(row: Row, action: Action) -> Sequence[str]:
    """What a run was to load, or to save."""
    names = row.details.get(action.value)
    return [str(name) for name in names] if isinstance(names, list) else []


def moment_of(row: Row) -> datetime:
    """The moment from which a row's decision was made: the row's own, or the past one that was asked about."""
    at = row.details.get("at")
    return datetime.fromisoformat(at) if isinstance(at, str) else row.at


def until_of(row: Row) -> datetime:
    """Until when whoever was first seen counts as known where a row's decision was made."""
    until = row.details.get("until")
    return datetime.fromisoformat(until) if isinstance(until, str) else moment_of(row)


def revision_of(row: Row) -> int:
    """The revision by which a row's decision was made: an approval is judged by the one that it changes."""
    revision = row.revision or 0
    return revision - 1 if row.event is Event.REQUEST_APPROVED else revision


def request_of(row: Row) -> tuple[str, int] | None:
    """The request that a row's decision was made on, and in which of its versions."""
    request, version = row.details.get("request"), row.details.get("version")
    if row.event not in _OF_REQUESTS or not isinstance(request, str) or not isinstance(version, int):
        return None
    return request, version


def states_of(row: Row) -> frozenset[str]:
    """The digests of the states that a row's decision was made about, beside that of :func:`state_of`."""
    return frozenset([*_found_states(row), *_about_states(row).values()])


def asks_about_all(row: Row) -> bool:
    """Whether a row's decision was made about all who were known."""
    return row.event is Event.ACCESS_SEARCHED and row.details.get("for") == Sought.SUBJECTS


def _found_states(row: Row) -> Sequence[str]:
    found = row.details.get("found_states")
    return [str(digest) for digest in found] if isinstance(found, list) else []


def _about_states(row: Row) -> Mapping[str, str]:
    about = row.details.get("about_states")
    return {str(name): str(digest) for name, digest in about.items()} if isinstance(about, dict) else {}


def state_of(row: Row) -> str:
    """The digest of the subject state that a row's decision was made about."""
    about = row.details.get("about_state")
    return about if isinstance(about, str) else row.subject_state


def reader_of(row: Row) -> int | None:
    """The revision by which it was decided what of a past decision might be told; nothing where all was."""
    read_at = row.details.get("read_at")
    return read_at if isinstance(read_at, int) else None


def recorded(
    row: Row, realm: Realm, about: SubjectState, reader: Realm | None, asker: SubjectState, beside: Beside
) -> Recorded:
    """A row with the realms and the subject states that it names."""
    there = Standpoint(realm, about, moment_of(row))
    return Recorded(row, there, asker, None if reader is None else Standpoint(reader, asker, row.at), beside)
