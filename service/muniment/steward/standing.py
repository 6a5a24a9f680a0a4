"""What stands in a running service, as it is put: the other side of a comparison with files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from muniment.core.bodies import KINDS
from muniment.core.break_glass import BROKEN
from muniment.core.comparing import Live
from muniment.core.files import Files, Written
from muniment.core.kept import Address
from muniment.core.problems import Fault
from muniment.core.requests import OF_REQUESTS
from muniment.steward.connection import PAGE, Connection
from muniment.steward.refusals import BadFiles, Refused

#: Grants that come about otherwise than by files: the approval of a request, and an emergency.
_NOT_OF_FILES: Final = (OF_REQUESTS, BROKEN)


def read_live(connection: Connection) -> dict[Address, Live]:
    """Everything that the asker may put, and what was kept in files and is gone."""
    found: dict[Address, Live] = {}
    for kind in KINDS:
        asked: dict[str, Any] = {"kind": kind, "limit": PAGE}
        while True:
            page = connection.get("/v1/realm", asked)
            with connection.understood():
                read, after = [_live(item) for item in (*page["items"], *page["gone"])], page["next"]
            found |= {live.address: live for live in read}
            if after is None:
                break
            asked["after"] = after
    return found


def exported(live: Mapping[Address, Live]) -> dict[Address, Mapping[str, Any]]:
    """What files say of all that stands; grants that requests and emergencies made are none of theirs."""
    return {
        address: each.body
        for address, each in live.items()
        if each.body is not None and not (each.kind == "grant" and each.key.startswith(_NOT_OF_FILES))
    }


def with_texts(connection: Connection, files: Files) -> Files:
    """The files with the Cedar text of each form, as the service renders it."""
    things = {}
    faults = []
    for address, written in files.things.items():
        try:
            things[address] = _with_text(connection, written) if written.form else written
        except Refused as refused:
            faults.append(Fault(written.file, f"{written.key}: {refused.message}", written.line))
    if faults:
        raise BadFiles("The form of a policy is wrong. Nothing was changed.", faults)
    return Files(things, files.source)


def _with_text(connection: Connection, written: Written) -> Written:
    draft = connection.post(
        "/v1/policies/read",
        {name: value for name, value in written.fields.items() if name in {"kind", "scope", "obligation"}}
        | {"form": written.form},
    )
    if draft["faults"]:
        raise Refused("; ".join(str(fault["message"]) for fault in draft["faults"]))
    fields = {**written.fields, "cedar": draft["cedar"]}
    return Written(written.kind, written.key, fields, written.file, written.line, written.form, written.beside)


def _live(item: Mapping[str, Any]) -> Live:
    kept = item["kept_in"] or {"source": None, "fields": {}}
    return Live(
        kind=item["kind"],
        key=item["id"],
        version=item["version"],
        body=item["body"],
        at=item["at"],
        by=item["by"],
        source=kept["source"],
        kept=kept["fields"],
        base=item["base"],
    )
