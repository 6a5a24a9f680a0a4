"""Things as the texts of files in git: what :mod:`muniment.core.files` reads back without loss.

What says nothing is left out, and so left to the pages: an empty description, a lifecycle that is active. An entry of a
file can be replaced without touching the rest of the text, comments included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from muniment.core.bodies import DEFAULTS, KINDS, from_fields
from muniment.core.comparing import same
from muniment.core.environments import BASE
from muniment.core.files import ABOUT, BLOCK
from muniment.core.kept import Address
from muniment.core.names import domain_of
from muniment.core.yaml_texts import Dumper
from muniment.core.yaml_texts import written as in_one_line

#: How many datasets stand in one file.
MOST_IN_FILE: Final = 200

_ONE_LINE: Final = 1_000_000


class _Dumper(Dumper):
    """The catalog's dumper, with texts of several lines as people write them."""


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text.strip("\n") and all(map(_is_plain_line, text.split("\n"))):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    return in_one_line(dumper, text)


def _is_plain_line(line: str) -> bool:
    return line.isprintable() and line == line.strip()


_Dumper.add_representer(str, _text)


def texts_of(bodies: Mapping[Address, Mapping[str, Any]], source: str) -> dict[str, str]:
    """The files that say all of this, by their paths."""
    by_kind: defaultdict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for (kind, key), body in sorted(bodies.items()):
        by_kind[kind][key] = body
    texts = {ABOUT: yaml_of({"name": source})}
    for kind in KINDS:
        if kind == "dataset":
            texts.update(_dataset_files(by_kind[kind]))
        elif kind == "policy":
            for id_, body in by_kind[kind].items():
                texts.update(policy_files(id_, body))
        elif by_kind[kind]:
            entries = {key: entry_of(kind, body) for key, body in by_kind[kind].items()}
            texts[f"{kind}s.yml"] = entries_text(entries)
    return texts


def policy_files(id_: str, body: Mapping[str, Any]) -> dict[str, str]:
    """A policy's text, and beside it what the text cannot say of itself."""
    texts = {f"policies/{id_}.cedar": str(body["cedar"])}
    beside = entry_of("policy", {key: value for key, value in body.items() if key != "cedar"})
    if beside:
        texts[f"policies/{id_}.yml"] = entries_text({id_: beside})
    return texts


def entry_of(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under a thing's name: all of its body that says something."""
    usual = DEFAULTS[kind]
    said = {key: value for key, value in body.items() if key not in usual or not same(value, usual[key])}
    if kind == "dataset":
        return _dataset(said)
    if kind == "grant":
        return {**said, "to": next(iter(said["to"].values()))}
    return said


def entry_of_fields(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under a thing's name, for exactly these fields; of a rule, which is kept whole, what is unusual."""
    body = from_fields(fields)
    if kind in {"policy", "grant"}:
        return entry_of(kind, body)
    return _dataset(body) if kind == "dataset" else body


def entries_text(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Entries as a file holds them."""
    return "\n".join(yaml_of({key: dict(entry)}) for key, entry in entries.items())


def replaced(text: str, key: str, entry: Mapping[str, Any] | None) -> str | None:
    """A text with another entry under a key (none takes it away); nothing, where the key is not plainly there."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) and not root.flow_style else []
    for name, value in pairs:
        if name.value == key:
            start, end = name.start_mark.index, value.end_mark.index
            said = "" if entry is None else yaml_of({key: dict(entry)})
            return text[:start] + said + _after(text[start:end], text[end:])
    return None


def _after(replaced_text: str, rest: str) -> str:
    """What follows an entry; the comments and empty lines at its end belong to what comes next."""
    lines = replaced_text.splitlines(keepends=True)
    count = len(lines)
    while count > 1 and (not lines[count - 1].strip() or lines[count - 1].lstrip().startswith("#")):
        count -= 1
    return "".join(lines[count:]) + rest.removeprefix("\n")


def _dataset_files(datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    by_domain: defaultdict[str, list[str]] = defaultdict(list)
    for name in datasets:
        by_domain[domain_of(name)].append(name)
    for domain, names in by_domain.items():
        for number, part in enumerate(_parts(names), start=1):
            path = f"datasets/{domain.replace('.', '/')}{f'-{number}' if number > 1 else ''}.yml"
            yield path, entries_text({name: entry_of("dataset", datasets[name]) for name in part})


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + MOST_IN_FILE] for start in range(0, len(names), MOST_IN_FILE))


def _dataset(said: Mapping[str, Any]) -> dict[str, Any]:
    """A catalog entry: the definition for base, and the block with all the rest."""
    layers = dict(said.get("environments", {}))
    beside = dict(layers.pop(BASE)) if layers.get(BASE) and BLOCK not in layers[BASE] else {}
    block = {key: value for key, value in said.items() if key != "environments"}
    if "columns" in block:
        block["columns"] = [
            {key: part for key, part in each.items() if part or key == "name"} for each in block["columns"]
        ]
    if layers:
        block["environments"] = layers
    return {**beside, **({BLOCK: block} if block or not beside else {})}


def yaml_of(value: Mapping[str, Any]) -> str:
    """Plain data as the YAML of such files."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ONE_LINE)
