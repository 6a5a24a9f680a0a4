"""Cedar's expressions as text, with brackets only where Cedar needs them.

What is written here is read by Cedar as the very same syntax tree. The grammar:
https://docs.cedarpolicy.com/policies/syntax-grammar.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cedarpy import pst

# How tightly an expression holds together: what binds less than its place demands stands in brackets.
_IF, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)

#: The operators between two expressions: how each is written, how tightly it holds, and what its sides must hold.
_INFIX: Mapping[str, tuple[str, int, int, int]] = {
    "or": ("||", _OR, _OR, _AND),
    "and": ("&&", _AND, _AND, _RELATION),
    "eq": ("==", _RELATION, _SUM, _SUM),
    "not_eq": ("!=", _RELATION, _SUM, _SUM),
    "less": ("<", _RELATION, _SUM, _SUM),
    "less_eq": ("<=", _RELATION, _SUM, _SUM),
    "greater": (">", _RELATION, _SUM, _SUM),
    "greater_eq": (">=", _RELATION, _SUM, _SUM),
    "in": ("in", _RELATION, _SUM, _SUM),
    "add": ("+", _SUM, _SUM, _PRODUCT),
    "sub": ("-", _SUM, _SUM, _PRODUCT),
    "mul": ("*", _PRODUCT, _PRODUCT, _UNARY),
}

#: The methods whose names are not just the operator's in camel case.
_METHODS: Mapping[str, str] = {
    "decimal_less_than": "lessThan",
    "decimal_less_eq": "lessThanOrEqual",
    "decimal_greater": "greaterThan",
    "decimal_greater_eq": "greaterThanOrEqual",
}

_FUNCTIONS = frozenset({"datetime", "decimal", "duration", "ip"})
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*\Z", re.ASCII)


def write_expression(expression: pst.Expr) -> str:
    """An expression as Cedar text, in one line."""
    return _written(expression, _IF)


def quoted(text: str) -> str:
    """A Cedar string literal. A ``*`` is itself, but in a pattern of ``like``, where it stands for any characters."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"


def _written(expression: pst.Expr, needed: int) -> str:
    """The expression's text, in brackets where its place needs one that holds more tightly."""
    text, holds = _text(expression)
    return text if holds >= needed else f"({text})"


def _text(expression: pst.Expr) -> tuple[str, int]:
    match expression:
        case pst.BinaryOp(op, left, right) if op in _INFIX:
            sign, holds, on_the_left, on_the_right = _INFIX[op]
            return f"{_written(left, on_the_left)} {sign} {_written(right, on_the_right)}", holds
        case pst.BinaryOp(op, left, right):
            return f"{_written(left, _MEMBER)}.{_method(op)}({write_expression(right)})", _MEMBER
        case pst.UnaryOp(op, argument):
            return _unary(op, argument)
        case pst.IfThenElse(asked, then, otherwise):
            parts = map(write_expression, (asked, then, otherwise))
            return "if {} then {} else {}".format(*parts), _IF
        case pst.HasAttr() | pst.Like() | pst.Is():
            return _tested(expression), _RELATION
        case pst.GetAttr(base, name):
            return f"{_written(base, _MEMBER)}{_access(name)}", _MEMBER
        case pst.LongLit(value):
            return str(value), _UNARY if value < 0 else _MEMBER
        case _:
            return _literal(expression), _MEMBER


def _unary(op: str, argument: pst.Expr) -> tuple[str, int]:
    if op == "not":
        return f"!{_written(argument, _MEMBER)}", _UNARY
    if op == "neg":
        bracketed = isinstance(argument, pst.LongLit)  # -1 would be read as a literal
        return f"-({write_expression(argument)})" if bracketed else f"-{_written(argument, _MEMBER)}", _UNARY
    if op in _FUNCTIONS:
        return f"{op}({write_expression(argument)})", _MEMBER
    return f"{_written(argument, _MEMBER)}.{_method(op)}()", _MEMBER


def _tested(expression: pst.HasAttr | pst.Like | pst.Is) -> str:
    match expression:
        case pst.HasAttr(base, attributes):
            named = ".".join(attributes) if all(map(_is_identifier, attributes)) else quoted(attributes[0])
            return f"{_written(base, _SUM)} has {named}"
        case pst.Like(base, pattern):
            return f'{_written(base, _SUM)} like "{"".join(map(_pattern, pattern))}"'
        case pst.Is(base, type_, inside):
            place = f" in {_written(inside, _SUM)}" if inside is not None else ""
            return f"{_written(base, _SUM)} is {type_}{place}"


def _literal(expression: pst.Expr) -> str:
    match expression:
        case pst.Var(name):
            return name
        case pst.Slot(name):
            return f"?{name}"
        case pst.BoolLit(value):
            return "true" if value else "false"
        case pst.StringLit(value):
            return quoted(value)
        case pst.EntityLit(entity):
            return write_entity(entity)
        case pst.Set(elements):
            return f"[{_listed(map(write_expression, elements))}]"
        case pst.Record(fields):
            return f"{{{_listed(f'{quoted(name)}: {write_expression(value)}' for name, value in fields.items())}}}"
        case _:
            raise TypeError(f"no expression of Cedar: {type(expression).__name__}")


def write_entity(entity: pst.EntityUid) -> str:
    """An entity as Cedar text."""
    return f"{entity.type}::{quoted(entity.id)}"


def _method(op: str) -> str:
    first, *others = op.split("_")
    return _METHODS.get(op) or first + "".join(other.capitalize() for other in others)


def _access(name: str) -> str:
    return f".{name}" if _is_identifier(name) else f"[{quoted(name)}]"


def _is_identifier(name: str) -> bool:
    return bool(_IDENTIFIER.match(name)) and name not in _RESERVED


def _pattern(element: pst.PatternElem) -> str:
    if isinstance(element, pst.Wildcard):
        return "*"
    return "\\*" if element.value == "*" else _escaped(element.value)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)
