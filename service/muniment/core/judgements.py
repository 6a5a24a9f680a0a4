"""What was judged, line by line, and the digest by which a ledger row holds it.

One line says of one deed whether it was allowed and which policies settled that. The same
lines are made when an answer is given and when it is computed again from its row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from muniment.core.decisions import Decision, Wanted
from muniment.core.schema import Action


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided about one action on one dataset; ``known`` is false where nothing may be said.

    ``version`` is the dataset's in a catalog, which gives its definition. Where one row tells of
    several subjects or circumstances, a line says its own: ``about`` and ``wanted``. What is done
    to a domain is ``on_domain``; ``dataset`` is then the domain's name. ``wrong`` says what was
    wrong with a question that had no decision.
    """

    dataset: str
    action: Action | None
    known: bool
    allowed: bool
    because: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    version: int | None = None
    about: str | None = None
    wanted: Wanted | None = None
    on_domain: bool = False
    wrong: str | None = None


def digest(judged: Iterable[Judged]) -> str:
    """SHA-256 (hex) over canonical ``[name, action, known, allowed, because]``, sorted, each once.

    For rows that tell of one subject in one circumstance, of actions on datasets. Obligations
    that stand in the way are what such a denial is because of.
    """
    lines = {(each.dataset, each.action or "", each.known, each.allowed, each.because) for each in judged}
    return hashlib.sha256(orjson.dumps(sorted(lines))).hexdigest()


def digest_of_answers(judged: Iterable[Judged]) -> str:
    """SHA-256 (hex) over all of each line but versions and obligations, in the order in which they were given."""
    return hashlib.sha256(orjson.dumps([_line(each) for each in judged])).hexdigest()


def digest_of_lease(catalog: str, patterns: Mapping[str, Iterable[Action]]) -> str:
    """SHA-256 (hex) over the digest of a lease's catalog and the patterns that it names, with their actions."""
    lines = [[name, [*actions]] for name, actions in sorted(patterns.items())]
    return hashlib.sha256(orjson.dumps([catalog, lines])).hexdigest()


def judged(dataset: str, action: Action, decision: Decision, *, allowed: bool) -> Judged:
    """A decision on a dataset that may be known; ``allowed`` is false also for what is permitted and not served."""
    return Judged(
        dataset, action, known=True, allowed=allowed, because=decision.because, obligations=decision.obligations
    )


def _line(each: Judged) -> list[object]:
    said = None if each.wanted is None else [each.wanted.environment, each.wanted.project, each.wanted.purpose]
    kind = "domain" if each.on_domain else "dataset"
    return [each.about, each.action, kind, each.dataset, said, each.allowed, each.because, each.wrong]
