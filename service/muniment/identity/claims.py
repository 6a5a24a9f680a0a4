"""From the claims of a verified token to what Muniment knows of a subject.

Ids are what policies speak of, so no two subjects may ever share one: those of the
default issuer stand bare, those of others behind their issuer's name, and a bare id
that looks like another issuer's is refused. Whatever can't be read exactly is refused
and never left out: a group that is silently missing may be one that a policy forbids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from muniment.core.keys import RESERVED
from muniment.core.subjects import LONGEST_ID, Attribute, Kind, Subject, SubjectState, readable_id
from muniment.identity.documents import value_at
from muniment.identity.issuers import AttributeClaim, Issuer, ServicesWhere
from muniment.identity.tokens import refuse
from muniment.identity.workloads import service_id

#: The most groups of one subject, and the most members of a set.
MOST_GROUPS = 1000

_LONGEST_TEXT = 1000
_LONGS = range(-(2**63), 2**63)
#: The built-in groups of one member each (rules of ownership): no provider may fill them.
_BUILT_IN_GROUPS = tuple(f"{kind.value}:" for kind in Kind)


def subject_state(claims: Mapping[str, object], issuer: Issuer, names: Collection[str]) -> SubjectState:
    """What the token says of its subject; raises :class:`TokenRefused`.

    ``names`` are those of all issuers, former ones included.
    """
    subject = Subject(_kind(claims, issuer), _subject_id(claims, issuer, names))
    if subject.kind is Kind.SERVICE and subject.id in RESERVED:
        refuse("The token speaks of a service identity that is Muniment's own")
    groups = _groups(claims, issuer)
    attributes = {name: _attribute(claims, name, where) for name, where in issuer.attributes.items()}
    return SubjectState(
        subject=subject,
        issuer=issuer.name,
        groups=frozenset(_named_by(issuer, group, names, "a group") for group in groups),
        attributes=MappingProxyType({name: value for name, value in attributes.items() if value is not None}),
    )


def _kind(claims: Mapping[str, object], issuer: Issuer) -> Kind:
    if isinstance(issuer.kind, ServicesWhere):
        found = [_text_at(claims, path) == expected for path, expected in issuer.kind.claims.items()]
        return Kind.SERVICE if all(found) else Kind.USER
    if issuer.kind == "services":
        return Kind.SERVICE
    # Where no rule tells: a client that speaks for itself, and no person of that name (RFC 9068, 2.2 and 5).
    alone = "client_id" in claims and claims["client_id"] == claims.get("sub")
    return Kind.SERVICE if alone else Kind.USER


def _text_at(claims: Mapping[str, object], path: str) -> str | None:
    value = value_at(claims, path)
    if value is not None and not isinstance(value, str):
        refuse(f"The token's “{path}” is not a text, so it does not say whether a user or a service asks")
    return value


def _subject_id(claims: Mapping[str, object], issuer: Issuer, names: Collection[str]) -> str:
    if issuer.workloads:
        return _named_by(issuer, _service_id(claims, issuer), names, "the workload")
    value = value_at(claims, issuer.subject_claim)
    if not isinstance(value, str):
        refuse(f"The token's “{issuer.subject_claim}” is not a text, so it does not say who asks")
    return _named_by(issuer, value, names, "the subject")


def _service_id(claims: Mapping[str, object], issuer: Issuer) -> str:
    """The service that the rules see in the token. Which rule it misses, and by what, is not said."""
    found = service_id(issuer.workloads, claims)
    if found is None:
        refuse("The token is genuine, and this service does not let its workload in")
    return found


def _named_by(issuer: Issuer, given: str, names: Collection[str], what: str) -> str:
    """The id as policies write it."""
    id_ = given if issuer.default else f"{issuer.name}|{given}"
    if not given or given != given.strip() or not readable_id(id_) or not id_.isprintable():
        refuse(
            f"The id of {what} in the token is empty, longer than {LONGEST_ID} characters, "
            "or holds characters that can't be seen"
        )
    if issuer.default and given.partition("|")[0] in names and "|" in given:
        refuse(f"The id of {what} in the token begins like one that another issuer gives")
    return id_


def _groups(claims: Mapping[str, object], issuer: Issuer) -> Collection[str]:
    if issuer.groups_claim is None:
        return ()
    path = issuer.groups_claim
    if _left_out(claims, path):
        refuse(
            f"The token leaves out “{path}” because the subject is in too many groups (Entra calls it overage); "
            "ask whoever runs the sign-in provider to send only the groups that this service needs"
        )
    groups = _texts(value_at(claims, path), path)
    if issuer.default and any(group.startswith(_BUILT_IN_GROUPS) for group in groups):
        refuse(f"The token's “{path}” names a group that begins with user: or service:, as only Muniment's own do")
    return groups


def _left_out(claims: Mapping[str, object], path: str) -> bool:
    """Whether the provider says that the claim is kept elsewhere.

    That is a distributed claim (OpenID Connect Core, 5.6.2), which Entra writes as ``groups:src1`` too; where
    there is no room even for that, Entra says ``hasgroups``.
    """
    names = {path, path.partition(".")[0]}
    elsewhere = claims.get("_claim_names")
    told = isinstance(elsewhere, Mapping) and not names.isdisjoint(elsewhere)
    marked = any(claim.startswith(f"{name}:src") for claim in claims for name in names)
    return told or marked or (path == "groups" and str(claims.get("hasgroups")).lower() == "true")


def _texts(value: object, path: str) -> frozenset[str]:
    """A list of texts; one text alone stands for itself, no claim for none.

    Scopes are written as one text with spaces between (RFC 8693, 4.2; Entra and Okta call the claim ``scp``).
    """
    if isinstance(value, str) and path in {"scope", "scp"}:
        value = value.split()
    given: Iterable[object] = value if isinstance(value, list) else () if value is None else (value,)
    texts = frozenset(text for text in given if isinstance(text, str))
    if not all(isinstance(text, str) for text in given):
        refuse(f"The token's “{path}” is not a list of texts")
    if len(texts) > MOST_GROUPS:
        refuse(f"The token's “{path}” holds more than {MOST_GROUPS} texts")
    return texts


def _attribute(claims: Mapping[str, object], name: str, where: AttributeClaim) -> Attribute | None:
    value = value_at(claims, where.claim)
    if _left_out(claims, where.claim):
        refuse(f"The token leaves out “{where.claim}”, the attribute “{name}”, and says that it is kept elsewhere")
    if value is None:
        return None
    if where.type == "set":
        return frozenset(_seen(text, name, where) for text in _texts(value, where.claim))
    if where.type == "string" and isinstance(value, str):
        return _seen(value, name, where)
    if where.type == "boolean" and isinstance(value, bool):
        return value
    if where.type == "long" and isinstance(value, int) and not isinstance(value, bool) and value in _LONGS:
        return value
    return refuse(f"The token's “{where.claim}”, the attribute “{name}”, is not a {where.type}")


def _seen(text: str, name: str, where: AttributeClaim) -> str:
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        refuse(
            f"The token's “{where.claim}”, the attribute “{name}”, is longer than {_LONGEST_TEXT} characters, "
            "or holds characters that can't be seen"
        )
    return text
