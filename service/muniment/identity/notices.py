"""The links in mails, by which somebody may do a little without signing in, because the mail came to them.

A link carries a token: what it is for, whose it is, and a MAC over that, made from the service's own secret. Whoever
holds the mail can do what the link says and nothing else: confirm that an address is read by a subject, or want no more
mails. Nothing about a token is kept, so none can be listed or stolen from the database.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from muniment.core.notices import CHOSEN, NoticeKind
from muniment.core.problems import NotFound
from muniment.core.subjects import Subject
from muniment.identity.envelopes import Envelopes, Slot

#: The longest token that is looked at, in characters: an address and a subject's name fit.
LONGEST_TOKEN: Final = 1200

_KEY_BYTES: Final = 32


def sealed(envelopes: Envelopes, key: UUID, secret: bytes) -> bytes:
    """The secret by which a program knows a subject's notices, as it may be kept."""
    return envelopes.sealed(secret, _slot(key))


def opened(envelopes: Envelopes, key: UUID, kept: bytes) -> bytes:
    """The same again; raises :class:`muniment.identity.envelopes.NotOpened`."""
    return envelopes.opened(kept, _slot(key))


def _slot(key: UUID) -> Slot:
    return Slot("notice_webhooks", str(key), "secret", 1)


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and reads tokens under one secret."""

    _key: bytes = field(repr=False)

    @classmethod
    def under(cls, secret: bytes) -> Links:
        """Links under a key of their own that the service's secret makes (HKDF with SHA-256; RFC 5869)."""
        return cls(HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"muniment links in mails").derive(secret))

    def unsubscribe(self, subject: Subject, kinds: Collection[NoticeKind]) -> str:
        """A token by which a subject gets no more mails of these kinds; it holds as long as the secret does."""
        return self._written({"do": "unsubscribe", "subject": str(subject), "kinds": sorted(kinds)})

    def confirm(self, subject: Subject, mailbox: str, until: datetime) -> str:
        """A token that shows that a subject reads what comes to an address."""
        until_second = int(until.timestamp())
        return self._written({"do": "confirm", "subject": str(subject), "mailbox": mailbox, "until": until_second})

    def read_unsubscribe(self, token: str) -> tuple[Subject, frozenset[NoticeKind]]:
        """Who wants no more mails, and of which kinds; :class:`NotFound` for what is no such token."""
        said = self._read(token, "unsubscribe")
        return Subject.parse(said["subject"]), frozenset(map(NoticeKind, said["kinds"])) & set(CHOSEN)

    def read_confirm(self, token: str, at: datetime) -> tuple[Subject, str]:
        """Who reads what comes to which address; :class:`NotFound` for what is no such token, or no longer one."""
        said = self._read(token, "confirm")
        if at >= datetime.fromtimestamp(said["until"], UTC):
            raise NotFound
        return Subject.parse(said["subject"]), said["mailbox"]

    def _written(self, said: Mapping[str, object]) -> str:
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        return f"{_text(body)}.{_text(self._mac(body))}"

    def _read(self, token: str, what: str) -> dict[str, Any]:
        body, _, mac = token.partition(".")
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise NotFound
        try:
            raw = _octets(body)
            genuine = hmac.compare_digest(self._mac(raw), _octets(mac))
        except ValueError:
            raise NotFound from None
        said: dict[str, Any] = orjson.loads(raw) if genuine else {}
        if said.get("do") != what:
            raise NotFound
        return said

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, sha256)


def _text(octets: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
