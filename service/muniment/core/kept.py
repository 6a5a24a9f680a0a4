"""Which fields of a thing are kept in files in git, by which source, and what that source last said of them.

A *source* is a directory of files under review. A thing is kept by one source at most; the fields that its files say
are the source's, all others the pages'. What was last said of them is no copy: it is what stood at the version that the
source made, or found to be as its files say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from muniment.core.names import ROOT
from muniment.core.problems import Conflict
from muniment.core.realm import Noun, Realm
from muniment.core.rulebook import readable
from muniment.core.schema import Action
from muniment.core.subjects import SubjectState
from muniment.core.visibility import roles

_RULING: Final = frozenset({Action.GRANT, Action.ADMINISTER})
_DECLARING: Final = frozenset({Action.DECLARE, Action.ADMINISTER})

#: What a thing is known by beside others of all kinds: its kind's word, and its name or id.
Address = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """The fields of one thing that a source keeps, each with the version at which it was what the files said."""

    kind: str
    key: str
    source: str
    fields: Mapping[str, int]

    @property
    def address(self) -> Address:
        """What the thing is known by."""
        return self.kind, self.key

    def moved_from(self, version: int) -> tuple[tuple[str, str, int], ...]:
        """The versions that its fields refer to and that are not this one, as (kind, key, version)."""
        return tuple((self.kind, self.key, each) for each in sorted({*self.fields.values()} - {version}))


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a source begins to keep of a thing: fields as the files now say, and fields that stand ``otherwise``.

    Of the latter what the files said before stays remembered: somebody changed them by hand, and it is not settled yet.
    """

    fields: frozenset[str] = frozenset()
    otherwise: frozenset[str] = frozenset()

    def after(self, before: Kept | None, version: int) -> dict[str, int]:
        """The fields with their versions, once the thing is at a version."""
        held = before.fields if before is not None else {}
        stayed = {field: held[field] for field in self.otherwise if field in held}
        return {**stayed, **dict.fromkeys(self.fields, version)}


def check_kept_by_nobody_else(standing: Mapping[Address, Kept], source: str, addresses: Iterable[Address]) -> None:
    """Refuse that a source begins to keep what another one keeps."""
    for address in addresses:
        kept = standing.get(address)
        if kept is not None and kept.source != source:
            raise Conflict(
                f"{' '.join(address)} is kept in {kept.source}, and not in {source}. Take it out of the files of one "
                "of them; or take it over from the other: take_over (muniment apply --take-over)."
            )


def keepable(realm: Realm, asker: SubjectState, at: datetime, kind: str) -> Mapping[str, Noun]:
    """The things of a kind that a subject may keep in files: those that it may put, or whose rules it makes.

    A thing that it would be shown in part (a domain without its locations) is not among them: what is not whole cannot
    be put. Of rules those that it may read; to keep one hands nothing on.
    """
    held = roles(realm, asker, at)
    match kind:
        case "policy":
            ruled = {id_: policy for id_, policy in realm.policies.items() if _RULING & set(held.get(policy.scope, ()))}
            return readable(realm, asker, at, ruled)
        case "grant":
            granted = {id_: grant for id_, grant in realm.grants.items() if _RULING & set(held.get(grant.scope, ()))}
            return readable(realm, asker, at, granted)
        case "dataset":
            declares = {domain for domain, actions in held.items() if Action.DECLARE in actions}
            return {name: dataset for name, dataset in realm.datasets.items() if dataset.domain in declares}
        case "domain":
            return {name: domain for name, domain in realm.domains.items() if _DECLARING & set(held.get(name, ()))}
        case _:
            things: Mapping[str, Noun] = realm.environments if kind == "environment" else realm.groups
            return things if Action.ADMINISTER in held.get(ROOT, ()) else {}
