"""Each noun as the JSON that puts it: what `PUT /v1/…` takes, whole and in its one spelling.

Files in git say the same; so do the two sides of a comparison. A body is made of *fields*: its keys, and for what is
itself a mapping by name (the environments of a dataset, the variables of a domain) each of its entries, as
``environments.prod``. A field is what is kept in files, or left to the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.groups import Group, is_builtin, write_group
from muniment.core.moments import write_moment
from muniment.core.policies import Policy
from muniment.core.realm import Noun

#: A thing's JSON, as it is put.
Body = Mapping[str, Any]

#: The words for the nouns, in the order in which a set of changes makes them: each can rely on those before.
KINDS: Final[Mapping[str, type[Noun]]] = {
    "environment": Environment,
    "group": Group,
    "domain": Domain,
    "dataset": Dataset,
    "policy": Policy,
    "grant": Grant,
}

#: What is a mapping by name, and so has a field for each of its entries.
BY_NAME: Final = frozenset({"environments", "variables"})

#: What a thing says of itself where nothing is said. An owner has none: the domain's owner owns a dataset.
DEFAULTS: Final[Mapping[str, Body]] = {
    "environment": {"description": "", "variables": {}},
    "group": {"description": "", "members": [], "parents": []},
    "domain": {"description": "", "variables": {}, "locations": [], "types": [], "lease_hours": None},
    "dataset": {
        "description": "",
        "tags": [],
        "classification": "internal",
        "sensitivity": 0,
        "layer": None,
        "columns": [],
        "lifecycle": "active",
        "successor": None,
        "environments": {},
    },
    "policy": {"kind": "access", "scope": "all", "obligation": None, "reason": "", "review_by": None, "cases": []},
    "grant": {"environments": [], "purposes": [], "until": None, "because": "", "review_by": None},
}


def word_of(noun: Noun | type[Noun]) -> str:
    """The word for a noun's kind."""
    kind = noun if isinstance(noun, type) else type(noun)
    return kind.__name__.lower()


def key_of(noun: Noun) -> str:
    """The name or id at which a noun stands."""
    return noun.id if isinstance(noun, Policy | Grant) else noun.name


def body_of(noun: Noun) -> dict[str, Any]:
    """What puts this very noun."""
    return _WRITERS[type(noun)](noun)


def fields_of(body: Body) -> dict[str, Any]:
    """A body by its fields."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        if key in BY_NAME and isinstance(value, Mapping):
            found.update({f"{key}.{name}": part for name, part in value.items()})
        else:
            found[key] = value
    return found


def from_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The body that has these fields."""
    body: dict[str, Any] = {}
    for field, value in fields.items():
        key, dot, name = field.partition(".")
        if dot and key in BY_NAME:
            body.setdefault(key, {})[name] = value
        else:
            body[field] = value
    return body


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "owner": write_group(dataset.owner),
        "description": dataset.description,
        "tags": sorted(dataset.tags),
        "classification": dataset.classification,
        "sensitivity": dataset.sensitivity,
        "layer": dataset.layer,
        "columns": [
            {"name": each.name, "type": each.type, "description": each.description, "tags": list(each.tags)}
            for each in dataset.columns
        ],
        "lifecycle": dataset.lifecycle.value,
        "successor": dataset.successor,
        "environments": {name: dict(definition) for name, definition in dataset.environments.items()},
    }


def _domain(domain: Domain) -> dict[str, Any]:
    return {
        "owner": write_group(domain.owner),
        "description": domain.description,
        "variables": dict(domain.variables),
        "locations": list(domain.locations),
        "types": list(domain.types),
        "lease_hours": domain.lease_hours,
    }


def _environment(environment: Environment) -> dict[str, Any]:
    return {"description": environment.description, "variables": dict(environment.variables)}


def _group(group: Group) -> dict[str, Any]:
    return {
        "description": group.description,
        "members": sorted(map(str, group.members)),
        "parents": sorted(map(write_group, group.parents)),
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "kind": policy.kind.value,
        "scope": policy.scope,
        "cedar": policy.cedar,
        "obligation": None if policy.obligation is None else dict(policy.obligation),
        "reason": policy.reason,
        "review_by": policy.review_by.isoformat() if policy.review_by else None,
        "cases": [dict(case) for case in policy.cases],
    }


def _grant(grant: Grant) -> dict[str, Any]:
    to = write_group(grant.to)
    return {
        "to": {"subject": to} if is_builtin(grant.to) else {"group": to},
        "actions": sorted(action.value for action in grant.actions),
        "on": {grant.kind: grant.on},
        "environments": sorted(grant.environments),
        "purposes": sorted(grant.purposes),
        "until": write_moment(grant.until) if grant.until else None,
        "because": grant.because,
        "review_by": grant.review_by.isoformat() if grant.review_by else None,
    }


_WRITERS: Final[Mapping[type[Noun], Callable[[Any], dict[str, Any]]]] = {
    Dataset: _dataset,
    Domain: _domain,
    Environment: _environment,
    Group: _group,
    Policy: _policy,
    Grant: _grant,
}
