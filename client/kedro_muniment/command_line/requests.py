"""Requests for access as a person at the keyboard makes and reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from kedro_muniment.problems import plain

if TYPE_CHECKING:
    from kedro_muniment.service import Service


def by_domain(names: Iterable[str]) -> list[list[str]]:
    """The names in as many requests as they have domains: each domain's approvers decide on their own."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        found[name.rpartition(".")[0]].append(name)
    return list(found.values())


def moment(text: str) -> str:
    """A day means its first moment (UTC); anything else is the service's to read."""
    try:
        return f"{date.fromisoformat(text).isoformat()}T00:00:00Z"
    except ValueError:
        return text


def every(service: Service, asked: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Every request that is listed for a question, page by page."""
    after: dict[str, str] = {}
    while True:
        page = service.requests({**asked, **after})
        yield from page["items"]
        if not page["next"]:
            return
        after = {"after": str(page["next"])}


def lines(request: Mapping[str, Any]) -> Iterator[str]:
    """A request as a person reads it: what, for whom, how far it has come, and what was said to it."""
    terms = request["narrowed"] or request["asked"]
    yield f"{plain(request['id'])}  {_progress(request)}"
    yield (
        f"  {plain(request['requester'])} to {' and '.join(map(plain, terms['actions']))} "
        f"{', '.join(map(plain, terms['datasets']))} in {', '.join(map(plain, terms['environments']))} "
        f"until {plain(terms['until'])[:16]}" + (f", for {plain(request['purpose'])}" if request["purpose"] else "")
    )
    yield f"  because: {plain(request['because'])}"
    if request["may_decide"] and request.get("deputy_of"):
        yield f"  you decide in the place of {plain(request['deputy_of'])}"
    for approval in request["approvals"]:
        yield f"  approved by {plain(approval['by'])}" + _in_place_of(approval) + _said(approval["comment"])
    decision = request["decision"]
    if decision and decision["state"] != "approved":
        yield f"  {plain(decision['state'])} by {plain(decision['by'])}" + _said(decision["because"])
    for note in request["notes"]:
        yield f"  note: {plain(note)}"


def _in_place_of(approval: Mapping[str, Any]) -> str:
    return f" in the place of {plain(approval['deputy_of'])}" if approval.get("deputy_of") else ""


def _said(comment: str) -> str:
    return f": {plain(comment)}" if comment else ""


def _progress(request: Mapping[str, Any]) -> str:
    if request["state"] != "pending":
        return plain(request["state"])
    given, needed = len(request["approvals"]), int(request["approvals_needed"])
    approvals = f", {given} of {needed} approvals" if needed > 1 else ""
    return f"pending{approvals}, with the approvers of {_waits_for(request)}"


def _waits_for(request: Mapping[str, Any]) -> str:
    reached = [plain(name) for name in (request["domain"], *request["escalated_to"])]
    return ", ".join(reached) + (" and the administrators" if request["administrators"] else "")
