"""The Cedar schema: what policies can speak of.

The entities and actions are Muniment's; the attributes of subjects are the
deployment's own and always optional, so a policy asks ``principal has clearance``
before it compares one. Cedar: https://docs.cedarpolicy.com/schema/schema.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache

import cedarpy

from muniment.core.problems import CannotStart


class Action(StrEnum):
    """What a subject does: three actions on data, six of governing."""

    DISCOVER = "discover"
    LOAD = "load"
    SAVE = "save"
    DECLARE = "declare"
    CLASSIFY = "classify"
    GRANT = "grant"
    APPROVE = "approve"
    AUDIT = "audit"
    ADMINISTER = "administer"


#: What is done to data; decided in an environment.
DATA_ACTIONS = (Action.DISCOVER, Action.LOAD, Action.SAVE)

#: What is done to the rules; decided on a domain or a dataset, in no environment.
GOVERNING_ACTIONS = tuple(action for action in Action if action not in DATA_ACTIONS)

_TYPES = {"string": "String", "long": "Long", "boolean": "Bool", "set": "Set<String>"}
_OURS = frozenset({"issuer"})
_ATTRIBUTE = re.compile(r"[a-z][a-zA-Z0-9_]{0,63}\Z")

_BLOCKS = {
    "principal": re.compile(r"entity User, Service [^{]*\{([^}]*)\}"),
    "resource": re.compile(r"entity (?:Domain|Dataset) [^{]*\{([^}]*)\}"),
    "context": re.compile(r"context: \{([^}]*)\}"),
}

_TEXT = """\
entity Group in [Group];
entity User, Service in [Group] {{ {subject} }};
entity Domain in [Domain] {{ owner: Group }};
entity Dataset in [Domain] {{
  name: String,
  owner: Group,
  tags: Set<String>,
  classification: String,
  sensitivity: Long,
  layer?: String,
  lifecycle: String,
}};
action discover, load, save appliesTo {{
  principal: [User, Service],
  resource: [Dataset],
  context: {{ environment: String, now: datetime, purpose?: String, project?: String }},
}};
action declare, classify, grant, approve, audit appliesTo {{
  principal: [User, Service],
  resource: [Domain, Dataset],
  context: {{ now: datetime }},
}};
action administer appliesTo {{
  principal: [User, Service],
  resource: [Domain],
  context: {{ now: datetime }},
}};
"""


def schema_text(attributes: Mapping[str, str]) -> str:
    """The schema as Cedar text; ``attributes`` maps names to string, long, boolean or set."""
    for name, type_ in attributes.items():
        if not _ATTRIBUTE.match(name) or name in _OURS:
            detail = f"The attribute {name!r} of MUNIMENT_ISSUERS cannot be used in policies; rename it."
            raise CannotStart(detail)
        if type_ not in _TYPES:
            detail = f"The attribute {name!r} of MUNIMENT_ISSUERS has no known type; use one of {', '.join(_TYPES)}."
            raise CannotStart(detail)
    subject = ["issuer: String", *(f"{name}?: {_TYPES[type_]}" for name, type_ in sorted(attributes.items()))]
    return _TEXT.format(subject=", ".join(subject))


@cache
def attributes(text: str) -> Mapping[str, frozenset[str]]:
    """The attributes that ``principal``, ``resource`` and ``context`` may have, in any request at all."""
    return {
        variable: frozenset(name for found in block.findall(text) for name in re.findall(r"(\w+)\??:", found))
        for variable, block in _BLOCKS.items()
    }


@cache
def parsed(text: str) -> cedarpy.Schema:
    """The schema, parsed once for each text."""
    return cedarpy.Schema.from_str(text)
