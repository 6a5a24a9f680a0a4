"""What is wrong with a token, for whoever runs the service: every check in its order, with what the token says.

:class:`~muniment.identity.bearer.Bearer` stops at the first fault, and tells a stranger
nothing. Here each check that can still be made is made, by the same functions, and the
values of claims are shown. The token itself and its signature are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import httpx

from muniment.core.keys import PREFIX
from muniment.core.problems import TokenRefused, Unavailable
from muniment.core.subjects import SubjectState
from muniment.identity import tokens
from muniment.identity.claims import subject_state
from muniment.identity.documents import value_at
from muniment.identity.introspection import Asker
from muniment.identity.issuers import Issuer
from muniment.identity.keys import IssuerKeys
from muniment.identity.tokens import Statement, Token

#: The claims that each check looks at.
_LOOKED_AT: Mapping[str, Sequence[str]] = {
    "audience": ("aud",),
    "times": ("iat", "nbf", "exp", "auth_time"),
    "purpose": ("typ", "token_use", "cnf"),
    "subject": ("sub",),
    "profile": ("client_id", "jti"),
    "answer": ("aud", "client_id", "token_type", "iat", "nbf", "exp", "sub"),
}
_MOMENTS = frozenset({"iat", "nbf", "exp", "auth_time"})
_LONGEST_SHOWN = 200


class Outcome(StrEnum):
    """How a check ended. What is absent may be absent; what was not checked may be wrong."""

    HOLDS = "holds"
    WRONG = "wrong"
    ABSENT = "absent"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of a token."""

    check: str
    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found, whose token it is, and who would sign in with it where nothing is wrong."""

    findings: tuple[Finding, ...]
    issuer: str | None = None
    state: SubjectState | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether the token holds; where something could not be checked, nobody can say so."""
        outcomes = {finding.outcome for finding in self.findings}
        for decisive in (Outcome.WRONG, Outcome.UNCHECKED):
            if decisive in outcomes:
                return decisive
        return Outcome.HOLDS


async def examine(text: str, issuers: Sequence[Issuer], http: httpx.AsyncClient | None, at: datetime) -> Examination:
    """Examine a token as of that time; without ``http`` no issuer is asked for its keys or about the token."""
    notes = _Notes()
    if text.startswith(PREFIX):
        notes.add("form", Outcome.UNCHECKED, "It is a key of Muniment's own, and says nothing: no issuer made it")
    elif tokens.is_signed(text):
        await _examine_signed(text, issuers, http, at, notes)
    else:
        await _examine_opaque(text, issuers, http, at, notes)
    return Examination(tuple(notes.findings), notes.issuer, notes.state)


class _Notes:
    """What has been found so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.issuer: str | None = None
        self.state: SubjectState | None = None

    def add(self, check: str, outcome: Outcome, words: str) -> None:
        self.findings.append(Finding(check, outcome, words))

    def checking(self, check: str, shown: str = "") -> _Checking:
        return _Checking(self, check, shown)


class _Checking:
    """A check, which holds unless the token is refused in it; what it looks at is shown either way."""

    def __init__(self, notes: _Notes, check: str, shown: str) -> None:
        self._notes = notes
        self._check = check
        self._shown = shown

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is None:
            self._notes.add(self._check, Outcome.HOLDS, self._shown)
        if not isinstance(error, TokenRefused):
            return False
        words = error.detail.removesuffix(tokens.AGAIN)
        self._notes.add(self._check, Outcome.WRONG, f"{words}: {self._shown}" if self._shown else words)
        return True


async def _examine_signed(
    text: str, issuers: Sequence[Issuer], http: httpx.AsyncClient | None, at: datetime, notes: _Notes
) -> None:
    token: Token | None = None
    with notes.checking("form"):
        token = tokens.read(text)
    issuer = _issuer(token, issuers, notes) if token is not None else None
    if token is None or issuer is None:
        return
    with notes.checking("algorithm", token.algorithm):
        tokens.check_algorithm(token, issuer)
    await _check_signature(token, issuer, http, at, notes)
    for name, check in tokens.CHECKS.items():
        with notes.checking(name, _shown(token, _LOOKED_AT[name])):
            check(token, issuer, at)
    _map(token, issuer, issuers, notes)


async def _examine_opaque(
    text: str, issuers: Sequence[Issuer], http: httpx.AsyncClient | None, at: datetime, notes: _Notes
) -> None:
    asked = [issuer for issuer in issuers if issuer.introspection]
    if not asked:
        words = "It is no signed JSON Web Token, and no issuer in the settings has “introspection”"
        notes.add("form", Outcome.WRONG, words)
        return
    notes.add("form", Outcome.HOLDS, "no JSON Web Token: the issuers are asked")
    if http is None:
        notes.add("introspection", Outcome.UNCHECKED, "no issuer was asked")
        return
    for issuer in asked:
        if await _ask(text, issuer, issuers, http, at, notes):
            return
    if notes.findings[-1].outcome is not Outcome.UNCHECKED:
        notes.add("introspection", Outcome.WRONG, "no issuer knows the token, or it is not active")


async def _ask(
    text: str, issuer: Issuer, issuers: Sequence[Issuer], http: httpx.AsyncClient, at: datetime, notes: _Notes
) -> bool:
    """Whether this issuer knows the token; then what it says is checked."""
    assert issuer.introspection is not None  # noqa: S101 - only such issuers are asked
    asker = Asker(issuer, issuer.introspection, http)
    if not asker.may_know(text):
        return False
    try:
        said = await asker.ask(text, at)
    except Unavailable as unavailable:
        notes.add("introspection", Outcome.UNCHECKED, unavailable.detail)
        return False
    if said is None:
        return False
    notes.add("introspection", Outcome.HOLDS, f"issuer “{issuer.name}” says that the token is active")
    with notes.checking("answer", _shown(said, _LOOKED_AT["answer"])):
        asker.check(said, at)
    _map(said, issuer, issuers, notes)
    return True


def _issuer(token: Token, issuers: Sequence[Issuer], notes: _Notes) -> Issuer | None:
    known = {issuer.issuer: issuer for issuer in issuers}
    with notes.checking("issuer", f"{_shown(token, ('iss',))}; the settings name {', '.join(known) or 'none'}"):
        return tokens.issuer_of(token, known)
    return None


async def _check_signature(
    token: Token, issuer: Issuer, http: httpx.AsyncClient | None, at: datetime, notes: _Notes
) -> None:
    key = f"key “{token.key_id}”" if token.key_id is not None else "no key id"
    if http is None:
        notes.add("signature", Outcome.UNCHECKED, f"the issuer's keys were not fetched ({key})")
        return
    try:
        _, candidates = await IssuerKeys(issuer, http).suiting(token.algorithm, token.key_id, at)
    except Unavailable as unavailable:
        notes.add("signature", Outcome.UNCHECKED, unavailable.detail)
        return
    with notes.checking("signature", key):
        tokens.check_signature(token, candidates)


def _map(said: Statement, issuer: Issuer, issuers: Sequence[Issuer], notes: _Notes) -> None:
    """What the claims make of the subject, and which claims are not there."""
    notes.issuer = issuer.name
    names = {each.name for each in issuers}
    with notes.checking("mapping"):
        notes.state = subject_state(said.claims, issuer, names)
    for check, path in _sources(issuer):
        if value_at(said.claims, path) is None:
            notes.add(check, Outcome.ABSENT, f"there is no claim “{path}”")
    if notes.state is None:
        for rule in issuer.workloads:
            _tell_rule(said, rule.name, rule.unmet(said.claims), notes)


def _sources(issuer: Issuer) -> Iterable[tuple[str, str]]:
    if issuer.groups_claim is not None:
        yield "groups", issuer.groups_claim
    for name, attribute in issuer.attributes.items():
        yield f"attribute {name}", attribute.claim


def _tell_rule(said: Statement, name: str, unmet: Sequence[str], notes: _Notes) -> None:
    words = f"does not hold for {_shown(said, unmet)}" if unmet else "holds"
    notes.add(f"workload {name}", Outcome.WRONG if unmet else Outcome.HOLDS, words)


def _shown(said: Statement, claims: Iterable[str]) -> str:
    """The claims as the token has them: a moment as a date, nothing at length."""
    return ", ".join(f"{claim} {_value(claim, value_at(said.claims, claim))}" for claim in claims)


def _value(claim: str, value: object) -> str:
    if value is None:
        return "is not there"
    if claim in _MOMENTS and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC).isoformat()
        except (ValueError, OverflowError, OSError):
            pass
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
