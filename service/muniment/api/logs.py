"""What the service says in its log: one form for every line, text or JSON, in each of its processes.

A line that is said in the course of a request carries that request's id, which its answer
and its ledger row carry too, and the id of its trace where one is followed. No line holds a
secret: nothing here is given any, and what looks like one all the same (in the words of an
error of some library, say) is taken out before the line is written.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from muniment.core.keys import PREFIX as KEY_PREFIX


class Form(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


#: What stands for a secret that was taken out.
HIDDEN: Final = "[hidden]"

#: The state of the request in whose course something is said: that of its ASGI scope.
of_request: Final[ContextVar[dict[str, Any] | None]] = ContextVar("of_request", default=None)

#: Tokens (JWS and JWE, in their compact form), keys of our own, credentials of HTTP, passwords in addresses and
#: settings.
_SECRETS: Final = (
    (re.compile(r"\beyJ[\w-]{4,}(?:\.[\w-]*){2,4}"), HIDDEN),
    (re.compile(rf"\b{re.escape(KEY_PREFIX)}[\w-]+"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*):[^\s@'\"]+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(
            r"(?i)([\"']?[\w-]*(?:password|passwd|secret|token|cookie|authorization|assertion|signature|\bsig|\bcode)[\"']?"
            r"\s*[=:]\s*)(?:b?\"[^\"]*\"|b?'[^']*'|[^\s&,;)}\]]+)"
        ),
        rf"\1{HIDDEN}",
    ),
)  # fmt: skip

#: Fields that a line may bring of its own (``extra=``), beside its words.
_FIELDS: Final = ("route", "method", "status", "seconds")

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: What others say at each of their steps.
_NOISY: Final = ("alembic", "httpx", "httpcore")


def configure(form: Form) -> None:
    """Let everything that this process says go to standard error in one form, uvicorn's own lines too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(AsJson() if form is Form.JSON else AsText(_TEXT))
    root = logging.getLogger()
    for other in [*root.handlers]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def without_secrets(text: str) -> str:
    """A text in which nothing that looks like a secret is left."""
    for looks, shown in _SECRETS:
        text = looks.sub(shown, text)
    return text


class AsText(logging.Formatter):
    """A line for people; what belongs to a request ends with its id."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the trace of an exception."""
        first, *trace = super().format(record).split("\n")
        told = [f"{name}={value}" for name, value in {**_own(record), **_request()}.items()]
        return without_secrets("\n".join([" ".join([first, *told]), *trace]))


class AsJson(logging.Formatter):
    """A line for programs: one object, with the same names in every line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; an exception is one text in it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            "process": os.getpid(),
            **_own(record),
            **_request(),
        }
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


def _own(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None}


def _request() -> dict[str, object]:
    state = of_request.get()
    if state is None:
        return {}
    told = {"request_id": state.get("request_id"), "trace_id": state.get("trace_id")}
    return {name: str(value) for name, value in told.items() if value is not None}
