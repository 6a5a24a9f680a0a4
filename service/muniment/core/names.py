"""The grammar of names: datasets, domains, environments, groups, policies.

A governed dataset is called ``<domain path>.<leaf>``, so a name's owner is in the
name, and nobody learns of a hidden dataset by trying to create it. Placeholders of
a factory pattern (``sales.{region}_orders``) stand in the leaf alone, which always
keeps a literal part: a pattern can capture nothing outside its own domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from muniment.core.problems import Fault, Invalid

#: The root of all domains. It is nobody's prefix: top domains are its children.
ROOT = "all"

#: The longest name of a dataset or domain, in characters.
LONGEST_NAME = 200

#: The most placeholders that a factory pattern may have.
MOST_PLACEHOLDERS = 4

_SEGMENT = re.compile(r"[a-z][a-z0-9_]*\Z")
_LEAF = re.compile(r"(?=[a-z{])(?:[a-z0-9_]|\{[a-z][a-z0-9_]*\})+\Z")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_FILLED = re.compile(r"[a-z0-9_]*\Z")
_VALUE = re.compile(r"[a-z0-9_]{1,100}\Z")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\Z")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")

#: Names that Kedro reads as something other than a dataset.
_KEDROS_OWN = frozenset({"parameters", "params"})


def domain_of(name: str) -> str:
    """The domain in which a dataset stands, by its name alone."""
    return name.rpartition(".")[0]


def parent_of(domain: str) -> str:
    """The domain above a domain; the root's parent is the root."""
    return domain.rpartition(".")[0] or ROOT


def lineage(domain: str) -> tuple[str, ...]:
    """A domain and all that stand above it, nearest first, the root last."""
    found = [domain]
    while found[-1] != ROOT:
        found.append(parent_of(found[-1]))
    return tuple(found)


def placeholders(name: str) -> tuple[str, ...]:
    """The placeholders of a factory pattern, in their order; none for a plain name."""
    return tuple(_PLACEHOLDER.findall(name))


def filled(name: str, values: Mapping[str, str]) -> str:
    """The name that a factory pattern makes of values for its placeholders; :class:`Invalid` for what cannot be one."""
    faults = [
        Fault(placeholder, f"Give a value for {placeholder}: letters a-z, digits and _.")
        for placeholder in placeholders(name)
        if not _VALUE.match(values.get(placeholder, ""))
    ]
    if faults:
        raise Invalid("Each placeholder needs a value that can be a part of a name.", faults)
    return _PLACEHOLDER.sub(lambda found: values[found[1]], name)


def is_domain(text: str) -> bool:
    """Whether a text can be the name of a domain (the root's included)."""
    return len(text) <= LONGEST_NAME and all(
        _SEGMENT.match(segment) and segment not in _KEDROS_OWN for segment in text.split(".")
    )


def is_dataset(text: str) -> bool:
    """Whether a text can be the name of a dataset or of a factory pattern."""
    domain, dot, leaf = text.rpartition(".")
    if not dot or len(text) > LONGEST_NAME or not is_domain(domain) or not _LEAF.match(leaf):
        return False
    if domain.split(".", maxsplit=1)[0] == ROOT:
        return False
    if "{" not in leaf:
        return bool(_SEGMENT.match(leaf)) and leaf not in _KEDROS_OWN
    found = placeholders(leaf)
    literal = _PLACEHOLDER.sub("", leaf)
    return len(set(found)) == len(found) <= MOST_PLACEHOLDERS and "}{" not in leaf and bool(literal.strip("_"))


def is_id(text: str) -> bool:
    """Whether a text can be the id of a policy or grant."""
    return bool(_ID.match(text))


def is_environment(text: str) -> bool:
    """Whether a text can be the name of an environment."""
    return bool(_ENVIRONMENT.match(text))


def checked_dataset(name: str) -> str:
    """The name, if a dataset can have it; else :class:`Invalid`."""
    if not is_dataset(name):
        message = (
            "A dataset is named <domain>.<leaf>: segments of a-z, 0-9 and _, each beginning with a letter, "
            f"at most {LONGEST_NAME} characters; at most {MOST_PLACEHOLDERS} placeholders such as {{region}}, only in "
            "the leaf and beside a literal part."
        )
        raise Invalid(message, [Fault("name", message)])
    return name


def checked_domain(name: str) -> str:
    """The name, if a domain can have it; else :class:`Invalid`."""
    if not is_domain(name) or (name != ROOT and name.split(".", maxsplit=1)[0] == ROOT):
        message = "A domain is named by segments of a-z, 0-9 and _, each beginning with a letter, joined by dots."
        raise Invalid(message, [Fault("name", message)])
    return name


def checked_id(text: str) -> str:
    """The id, if a policy or grant can have it; else :class:`Invalid`."""
    if not is_id(text):
        message = "An id is made of a-z, 0-9, '.', '_' and '-', begins with a letter or digit, at most 100 characters."
        raise Invalid(message, [Fault("id", message)])
    return text


def checked_environment(text: str) -> str:
    """The name, if an environment can have it; else :class:`Invalid`."""
    if not is_environment(text):
        message = "An environment is named by a-z, 0-9, '_' and '-', begins with a letter, at most 40 characters."
        raise Invalid(message, [Fault("name", message)])
    return text


def alike(literals: Sequence[str], text: str) -> bool:
    """Whether a text is these literals in their order with anything between them, as Cedar's ``like`` reads it.

    The first stands at the text's beginning and the last at its end. Each of the others is
    taken where it first occurs, which leaves most to those after it: nothing is tried twice.
    """
    first, last = literals[0], literals[-1]
    if len(literals) == 1:
        return text == first
    end = len(text) - len(last)
    if end < len(first) or not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for literal in literals[1:-1]:
        found = text.find(literal, at, end)
        if found < 0:
            return False
        at = found + len(literal)
    return True


class Pattern:
    """A factory pattern that resolves names, as Kedro's does, within one segment.

    Of several ways to read a name, Kedro gives each placeholder as little as it can: at
    least one of the characters of a leaf. All that stands after a pattern's domain is made
    of those, so a literal taken where it first occurs never spoils a later one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        parts = _PLACEHOLDER.split(name)
        self._literals, self._placeholders = parts[::2], parts[1::2]
        #: How specific a pattern is: Kedro prefers more literal characters, then more placeholders, then the alphabet.
        self.rank = (-sum(map(len, self._literals)), -len(self._placeholders), name)

    @property
    def expression(self) -> str:
        """A regular expression, as Python and PostgreSQL read it, that all names match which the pattern makes."""
        return f"^{'[a-z0-9_]+'.join(map(re.escape, self._literals))}$"

    def match(self, name: str) -> dict[str, str] | None:
        """The values of the placeholders, or nothing when the name does not match."""
        first, *between, last = self._literals
        end = len(name) - len(last)
        if not name.startswith(first) or not name.endswith(last) or not _FILLED.match(name, len(first)):
            return None
        values: list[str] = []
        at = len(first)
        for literal in between:
            found = name.find(literal, at + 1, end)
            if found < 0:
                return None
            values.append(name[at:found])
            at = found + len(literal)
        return dict(zip(self._placeholders, [*values, name[at:end]], strict=True)) if at < end else None
