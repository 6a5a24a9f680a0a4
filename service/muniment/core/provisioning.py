"""Provisioning: the people and groups of which an identity provider tells before anybody signs in.

A provider keeps a directory here in step with its own (SCIM 2.0, RFC 7643 and 7644): its people,
whether each may still come in, and its groups. Each person is the subject that the tokens of the
same issuer name. Of what a provider knows of people, only what names them here is kept.

A group that was ever provisioned has the members that provisioning says, whatever a credential
says: its name stays held when the group is renamed or deleted, and brings nobody anything then.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from muniment.core.groups import is_builtin
from muniment.core.problems import Fault, Invalid
from muniment.core.subjects import Kind, Subject, SubjectState, readable_id

#: The longest text that is kept of a person or a group, in characters.
LONGEST_TEXT: Final = 200

#: Why the sign-ins of a subject ended that its provider has deprovisioned; the provider alone may admit it again.
DEPROVISIONED: Final = "The identity provider deprovisioned this subject."


class SubjectBy(StrEnum):
    """The attribute of a provisioned user that is the subject's id in the issuer's tokens."""

    USER_NAME = "userName"
    EXTERNAL_ID = "externalId"


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What a provider says of a person. One of whom it no longer says that they are active is not."""

    user_name: str
    external_id: str | None = None
    display_name: str | None = None
    active: bool | None = True


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """What a provider says of a group; ``members`` are ids of provisioned users."""

    display_name: str
    external_id: str | None = None
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class User:
    """A provisioned person: what is said of them, and the subject that they are."""

    id: str
    record: UserRecord
    subject: Subject
    made_at: datetime
    changed_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A provisioned group: what is said of it, and the name that policies know it by.

    A group that was read without its members has none.
    """

    id: str
    record: GroupRecord
    name: str
    made_at: datetime
    changed_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class Directory:
    """The people and groups of one issuer; those of the default one are named without it."""

    issuer: str
    default: bool = True
    subject_by: SubjectBy = SubjectBy.USER_NAME

    def is_named(self, name: str | None) -> bool:
        """Whether this is the directory of that issuer; without a name, of the default one."""
        return self.default if name is None else self.issuer == name

    def subject_of(self, record: UserRecord, names: Collection[str]) -> Subject:
        """The subject that a person is; :class:`Invalid` where no subject can have such an id.

        ``names`` are those of all issuers, former ones included.
        """
        by = self.subject_by
        given = record.user_name if by is SubjectBy.USER_NAME else record.external_id
        if given is None:
            raise _invalid(by, f"People of this directory are known by their {by}; it is missing.")
        return Subject(Kind.USER, self._named(given, names, by))

    def group_of(self, record: GroupRecord, names: Collection[str]) -> str:
        """The name by which policies know a group; :class:`Invalid` where no group can have it."""
        name = self._named(record.display_name, names, "displayName")
        if is_builtin(name):
            raise _invalid("displayName", "A group cannot be named user:… or service:…, as only Muniment's own are.")
        return name

    def _named(self, given: str, names: Collection[str], at: str) -> str:
        name = given if self.default else f"{self.issuer}|{given}"
        if not given or given != given.strip() or not readable_id(name):
            raise _invalid(at, f"It must have 1 to {LONGEST_TEXT} characters, all of which can be seen.")
        if self.default and "|" in given and given.partition("|")[0] in names:
            raise _invalid(at, "It begins like a name that another issuer gives.")
        return name


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for in a directory, by what can be found at once; nothing means all.

    It may find more than what was meant: whoever asks looks at what was found.
    ``start`` and ``limit`` cut a page out of all.
    """

    id: str | None = None
    user_name: str | None = None
    external_id: str | None = None
    display_name: str | None = None
    member: str | None = None
    start: int = 0
    limit: int | None = None


def folded(text: str) -> str:
    """A text as names are compared whose letters may be large or small (RFC 7643, 2.2 and 4.1.1)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def checked_texts(record: UserRecord | GroupRecord) -> None:
    """Refuse texts that are too long to be kept, or cannot be seen; raises :class:`Invalid`."""
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, str) and (len(value) > LONGEST_TEXT or not value.isprintable()):
            message = f"It must have at most {LONGEST_TEXT} characters, all of which can be seen."
            raise _invalid(scim_name(field.name), message)


def differing(before: UserRecord | GroupRecord | None, after: UserRecord | GroupRecord) -> tuple[str, ...]:
    """The names of the attributes that a change sets otherwise, as SCIM writes them."""
    return tuple(
        scim_name(field.name)
        for field in fields(after)
        if (getattr(before, field.name) if before is not None else None) != getattr(after, field.name)
    )


def scim_name(name: str) -> str:
    """The name of a field as SCIM writes it: ``user_name`` is ``userName``."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def settled(
    known: SubjectState | None,
    subject: Subject,
    issuer: str,
    member_of: frozenset[str],
    held: AbstractSet[str],
) -> SubjectState:
    """What is known of a subject once provisioning has spoken: of one never seen, its provisioned groups alone.

    ``held`` are the names of all groups that were ever provisioned, of those that it is known to be in.
    """
    if known is None:
        return SubjectState(subject, issuer, member_of)
    return replace(known, groups=(known.groups - held) | member_of)


def _invalid(at: str, message: str) -> Invalid:
    return Invalid(f"{at}: {message}", [Fault(at, message)], scimType="invalidValue")
