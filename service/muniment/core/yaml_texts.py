"""Texts as YAML that every reader of it understands alike, whichever version of YAML it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

#: A text that no YAML reader takes for anything else, unless it is one of the words below.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_]*(?:[./=:-]+[A-Za-z0-9_]+)*\Z", re.ASCII)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})

#: The width at which YAML is folded: never, so that a path stays on its line.
_ONE_LINE = 1_000_000


def dumped(entries: Mapping[str, object]) -> str:
    """Entries of a catalog as YAML that every reader of it understands."""
    return yaml.dump(entries, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_ONE_LINE)


class Dumper(yaml.CSafeDumper):
    """PyYAML's safe dumper as every reader of YAML understands it.

    Without anchors, which people do not expect in a catalog; and with quotes around every
    text that is not plainly one: YAML 1.1, 1.2 and OmegaConf read ``1e3``, ``0o7``, ``y`` or
    ``12:30`` each in their own way.
    """

    def ignore_aliases(self, _data: object) -> bool:
        """Write a value out each time that it occurs."""
        return True


def written(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    """A text on one line, in quotes unless every reader of YAML takes it for a text without."""
    plain = _PLAIN.match(text) and text.lower() not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


Dumper.add_representer(str, written)
