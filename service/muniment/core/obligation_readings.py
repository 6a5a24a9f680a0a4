"""What a sentence demands, read back: which columns are masked, or which rows are left.

The grammar is that of :mod:`muniment.core.sentences`. What is read is an obligation in its one spelling.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from muniment.core.masks import Mask, MaskAction, write_mask
from muniment.core.row_filters import DEEPEST, TYPE, read_row_filter, write_row_filter
from muniment.core.sentence_tokens import Tokens, refuse, unescaped
from muniment.core.sentences import COMPARED, MASKED, STATED

#: A value with which a column is compared, and the type that it is said to have.
_LITERAL: Final = re.compile(
    rf"""\s*(?:(?P<type>{TYPE})\s+)?
    (?:'(?P<text>(?:[^']|'')*)'
    |(?P<number>-?[0-9]{{1,25}}(?P<broken>(?:\.[0-9]{{1,25}})?(?:e[+-]?[0-9]{{1,3}})?))(?![\w|@{{}}*.-])
    |(?P<truth>true|false)(?![\w|@{{}}*.-]))""",
    re.VERBOSE,
)

#: How something is said of a column, longer words before those that they begin with.
_SAID: Final = tuple(
    sorted(
        ((tuple(words.split()), type_) for told in (COMPARED, STATED) for type_, words in told.items()),
        key=lambda pair: -len(pair[0]),
    )
)


def mask_in(said: Tokens) -> Mapping[str, object]:
    """``the column email masked (hashed)``: the mask that a sentence goes on with."""
    columns: list[str] = []
    tags: list[str] = []
    if said.take("the", "column") or said.take("the", "columns"):
        columns, _ = said.names()
        if said.take(",", "and", "every", "column", "tagged"):
            tags = _tags(said)
            said.need(",")
    else:
        said.need("every", "column", "tagged")
        tags = _tags(said)
    said.need("masked", "(")
    for action, words in MASKED.items():
        if said.take(*words.split(), ")"):
            return write_mask(Mask(action, tuple(sorted({*columns})), tuple(sorted({*tags}))))
    raise said.lost(MASKED[MaskAction.REPLACE_WITH_NULL])


def _tags(said: Tokens) -> list[str]:
    """The tags of columns, up to what becomes of those."""

    def is_tag(further: int) -> bool:
        return said.is_name(further) and (said.peek(further)[1], said.peek(further + 1)[1]) != ("masked", "(")

    return said.listed(said.name, is_tag)[0]


def row_filter_in(said: Tokens) -> Mapping[str, object]:
    """``region = 'EU' and amount > 3``: the condition that a sentence goes on with."""
    return write_row_filter(read_row_filter(_predicate(said, DEEPEST)))


def spelt(obligation: object) -> str:
    """An obligation as one text: the same for two that demand the same, however their values are listed.

    What Python takes to be equal is not always the same: 1, 1.0 and true.
    """
    return json.dumps(_with_types(obligation), sort_keys=True)


def _with_types(node: object) -> object:
    match node:
        case {"values": {"values": [*values], "data-type": type_}, **rest}:
            return {**rest, "values": [{"type": "literal", "value": value, "data-type": type_} for value in values]}
        case Mapping():
            return {key: _with_types(value) for key, value in node.items()}
        case _:
            return node


def _predicate(said: Tokens, deeper: int) -> object:
    """Parts that are joined by one word; where both words stand, brackets tell what belongs together."""
    if deeper == 0:
        refuse(f"A row filter nests at most {DEEPEST} deep; say it in several policies, which all hold.")
    found = _part(said, deeper)
    word = "and" if said.comes("and") else "or"
    while said.take(word):
        found = {"type": word, "left": found, "right": _part(said, deeper)}
    return found


def _part(said: Tokens, deeper: int) -> object:
    if said.take("not", "("):
        child = _predicate(said, deeper - 1)
        said.need(")")
        return {"type": "not", "child": child}
    if said.take("("):
        inner = _predicate(said, deeper - 1)
        said.need(")")
        return inner
    for words, so in (("anything is so", True), ("nothing is so", False)):
        if said.take(*words.split()):
            return so
    return _about(said, {"type": "reference", "name": said.name()})


def _about(said: Tokens, column: Mapping[str, object]) -> object:
    """What is said of a column."""
    for words, type_ in _SAID:
        if not said.take(*words):
            continue
        if type_ in COMPARED:
            return {"type": type_, "left": column, "right": _value(said)}
        if type_ in {"in", "not-in"}:
            return {"type": type_, "child": column, "values": _values(said)}
        return {"type": type_, "child": column}
    raise said.lost("=")


def _values(said: Tokens) -> object:
    """The values of which a column has one."""
    found = [_value(said)]
    while (joint := _joint(said)) is not None:
        said.need(joint)
        found.append(_value(said))
        if joint == "or":
            break
    return found


def _joint(said: Tokens) -> str | None:
    """What joins a value with another one that follows."""
    sign = said.peek()[1]
    after = said.text.find(sign, said.at) + len(sign)
    return sign if sign in {",", "or"} and _LITERAL.match(said.text, after) else None


def _value(said: Tokens) -> Mapping[str, object]:
    """A value as a literal, with its type where one is named."""
    found = _LITERAL.match(said.text, said.at)
    if found is None:
        raise said.lost("a value, such as 'EU'")
    said.at = found.end()
    value: object
    if found["text"] is not None:
        value = unescaped(found["text"].replace("''", "'"))
    elif found["truth"]:
        value = found["truth"] == "true"
    else:
        value = float(found["number"]) if found["broken"] else int(found["number"])
    return {"type": "literal", "value": value, **({"data-type": found["type"]} if found["type"] else {})}
