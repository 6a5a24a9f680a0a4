"""Who may ask: users and service identities, and what is known of them.

A subject's groups and attributes come with the token and belong to no revision.
They are kept as a :class:`SubjectState`, addressed by its content, so that every
decision is a pure function of a revision, a subject state and a request.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from muniment.core.problems import Fault, Invalid

#: The longest id of a subject or group, in characters.
LONGEST_ID = 200

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

#: The types an attribute of a subject can have in the Cedar schema.
Attribute = str | int | bool | frozenset[str]


class Kind(StrEnum):
    """What a subject is: a person, or an identity of a machine."""

    USER = "user"
    SERVICE = "service"

    @property
    def entity_type(self) -> str:
        """The name of this kind's entity type in the Cedar schema."""
        return "User" if self is Kind.USER else "Service"


def readable_id(text: str) -> bool:
    """Whether an id can be shown as it is: no control, bidirectional or invisible characters."""
    return 0 < len(text) <= LONGEST_ID and text == text.strip() and text.isprintable() and not _UNREADABLE.search(text)


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """A user or a service identity, by the name that policies use."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Read ``user:<id>`` or ``service:<id>``; raises :class:`Invalid`."""
        kind, colon, id_ = text.partition(":")
        if not colon or kind not in {k.value for k in Kind} or not readable_id(id_):
            message = "A subject is written user:<id> or service:<id>."
            raise Invalid(message, [Fault("subject", message)])
        return cls(Kind(kind), id_)


@dataclass(frozen=True, slots=True)
class SubjectState:
    """What was known of a subject when a token was verified.

    ``groups`` are group ids (those of issuers that are not the default one are
    written ``issuer|group``). ``attributes`` are typed by the deployment's mapping.
    """

    subject: Subject
    issuer: str
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    _digest: str = field(default="", init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON of the whole state: its address."""
        if not self._digest:
            # A request asks for it several times, and a sign-in that is remembered is asked with for its whole life.
            object.__setattr__(self, "_digest", self._reckoned())
        return self._digest

    def _reckoned(self) -> str:
        canonical = {
            "attributes": {
                name: sorted(value) if isinstance(value, frozenset) else value
                for name, value in sorted(self.attributes.items())
            },
            "groups": sorted(self.groups),
            "id": self.subject.id,
            "issuer": self.issuer,
            "kind": self.subject.kind.value,
        }
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


#: Who acts where the service itself does, or where nobody is signed in.
ITSELF: Final = SubjectState(Subject(Kind.SERVICE, "muniment"), issuer="muniment")
