"""What the company's rules do beside letting people run: a mask, an example that must hold, a request for access.

Everything is asked over REST, as whoever has the right to. Ann's request is made and approved once:
a later start finds it approved and shows what became of it. Another one waits, for whoever opens the pages as Inès.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.entering import Desk, introduced
from demo.servers import ADMINISTRATOR
from demo.telling import must, paragraph, quoted, step, table

_ANALYST = "ann"
_STEWARD = "ines"
_MASKED = "operations.fleet.trips"
_MASK = "drivers-stay-unnamed"
_CASE = "people-is-closed"
_WANTED = "finance.invoices"
_UNDECIDED = "finance.cost_centres"
_ENVIRONMENT = "prod"
_ACCESS = timedelta(days=90)
_STATES = ("pending", "approved", "denied", "withdrawn", "expired")


def show_mask(desk: Desk) -> None:
    """Ann knows of a dataset, and is told why she does not get it."""
    told = desk.get(_ANALYST, "/v1/explain", action="load", dataset=_MASKED, environment=_ENVIRONMENT)
    must(told["because"] == [_MASK], f"The mask {_MASK} should keep {_MASKED} from {_ANALYST}: {told['reason']}")
    must(_MASKED not in _catalog(desk), f"The catalog of {_ANALYST} should not hold {_MASKED}, which is masked.")
    known = desk.get(_ANALYST, f"/v1/datasets/{_MASKED}")["description"]
    print(f"{introduced(_ANALYST)}, may know of {_MASKED} (“{known}”):")
    quoted(told["reason"])


def show_case(desk: Desk) -> None:
    """Ada tries a change of a group, and an example beside a policy refuses it."""
    engineers = desk.get(ADMINISTRATOR, "/v1/groups/engineers")
    body = {
        "description": engineers["description"],
        "members": engineers["members"],
        "parents": [*engineers["parents"], "group:people-team"],
    }
    change = {"put": {"kind": "group", "id": "engineers", "body": body}}
    refused = desk.refused(ADMINISTRATOR, "/v1/try", {"changes": [change]}, "/problems/case-fails")
    must(_CASE in refused, f"The refusal should name the policy {_CASE}: {refused}")
    print(f"\n{introduced(ADMINISTRATOR)}, tries to make the engineers a part of the people team:")
    quoted(refused.replace(". ", ".\n"))


def show_request(desk: Desk) -> None:
    """Ann asks, Inès sees what a yes would do and says it, and the next catalog holds what was asked for."""
    request = _approved(desk) if _WANTED in _catalog(desk) else _asked_and_approved(desk)
    if request is None:
        paragraph(f"{introduced(_ANALYST)}, may load {_WANTED} already: somebody has given it to her unasked.")
        return
    asked = str(request["at"])
    with step("Ann's catalog, then and now") as doing:
        then, now = _catalog(desk, at=asked), _catalog(desk)
        must(_WANTED in now, f"The catalog of {_ANALYST} should hold {_WANTED} after the approval.")
        must(_WANTED not in then, f"The catalog of {_ANALYST} should not have held {_WANTED} at {asked}.")
        doing.found = f"{len(then)} datasets at={asked}, {len(now)} now"
    _show_who(desk, asked, str(request["grants"][0]))


def leave_request(desk: Desk) -> None:
    """Ann asks for one more, which is left to whoever opens the pages as Inès; what became of an earlier one stays."""
    print()
    with step("Ann asks for one more") as doing:
        made = next((it for state in _STATES if (it := _asked(desk, _UNDECIDED, state))), None)
        made = made or desk.post(_ANALYST, "/v1/requests", _wish(_UNDECIDED, "Quarters are compared by cost centre."))
        doing.found = f"{made['state']}: {desk.pages}/requests/{made['id']}"


def _asked_and_approved(desk: Desk) -> Mapping[str, Any]:
    """Ann's request with Inès' yes; one that an interrupted demonstration left is decided, not made again."""
    request = _asked(desk, _WANTED, "pending")
    told = desk.get(_ANALYST, "/v1/explain", action="load", dataset=_WANTED, environment=_ENVIRONMENT)
    print(f"{introduced(_ANALYST)}: why may I not load {_WANTED}?")
    quoted(f"{told['reason']}\nask with: {told['request']}")
    with step("Ann asks") as doing:
        request = request or desk.post(_ANALYST, "/v1/requests", _wish(_WANTED, "Returns are credited on the invoice."))
        doing.found = f"until {str(request['asked']['until'])[:10]}; {told['owner']} decides"
    with step("Inès tries what a yes would do") as doing:
        tried = desk.post(_STEWARD, "/v1/try", {"changes": [{"put": _as_grant(request)}]})
        must(tried["revision"] == _revision(desk), "Trying a change should change nothing.")
        gained = [f"{each['subject']} {each['action']}s {each['dataset']}" for each in tried["gained"]["items"]]
        must(gained == [f"user:{_ANALYST} loads {_WANTED}"], f"A yes should give Ann {_WANTED} alone: {gained}")
        lost, failing = tried["lost"]["count"], tried["runs"]["count"]
        must(lost == failing == 0, f"A yes should take nothing from anybody: {lost} lost, {failing} runs would fail.")
        doing.found = f"{gained[0]}; {lost} lost, {failing} recorded runs would fail"
    with step("Inès approves") as doing:
        approved: Mapping[str, Any] = desk.post(_STEWARD, f"/v1/requests/{request['id']}/approve", {})
        must(approved["state"] == "approved", f"The request should be approved, and is {approved['state']}.")
        doing.found = f"grant {approved['grants'][0][:12]}…, revision {_revision(desk)}"
    return approved


def _approved(desk: Desk) -> Mapping[str, Any] | None:
    """The request that an earlier demonstration approved, as it is told again."""
    request = _asked(desk, _WANTED, "approved")
    if request is not None:
        by, at = request["decision"]["by"], str(request["decision"]["at"])[:10]
        print(f"{introduced(_ANALYST)}, asked for {_WANTED} at an earlier start; {by} approved it on {at}.")
    return request


def _asked(desk: Desk, dataset: str, state: str) -> Mapping[str, Any] | None:
    """Ann's request for this dataset alone, if there is one in this state."""
    found: Sequence[Mapping[str, Any]] = desk.get(_ANALYST, "/v1/requests", mine="true", state=state)["items"]
    return next((request for request in found if request["asked"]["datasets"] == [dataset]), None)


def _show_who(desk: Desk, asked: str, grant: str) -> None:
    """Everybody who may load it, as the steward sees them: when Ann asked, and now."""
    question = {"action": "load", "dataset": _WANTED, "environment": _ENVIRONMENT}
    before = {each["subject"] for each in desk.get(_STEWARD, "/v1/who", **question, at=asked)["items"]}
    now = {each["subject"]: each["because"] for each in desk.get(_STEWARD, "/v1/who", **question)["items"]}
    must(f"user:{_ANALYST}" not in before, f"{_ANALYST} should not have been among those who load {_WANTED}.")
    must(now.get(f"user:{_ANALYST}") == [f"grant:{grant}"], f"{_ANALYST} should load {_WANTED} by her request alone.")
    print(f"\nWho may load {_WANTED} in {_ENVIRONMENT}:")
    rows = [(subject, "yes" if subject in before else "no", ", ".join(rules)) for subject, rules in now.items()]
    table(("subject", "when Ann asked", "now by"), rows)


def _catalog(desk: Desk, **at: str) -> set[str]:
    """The names in Ann's catalog, now or at a moment."""
    return set(desk.get(_ANALYST, "/v1/catalog", environment=_ENVIRONMENT, **at))


def _revision(desk: Desk) -> int:
    return int(desk.get(_STEWARD, "/v1/whoami")["revision"])


def _wish(dataset: str, because: str) -> dict[str, Any]:
    until = (datetime.now(UTC) + _ACCESS).replace(microsecond=0)
    return {
        "actions": ["load"],
        "datasets": [dataset],
        "environments": [_ENVIRONMENT],
        "because": because,
        "until": until.isoformat().replace("+00:00", "Z"),
    }


def _as_grant(request: Mapping[str, Any]) -> dict[str, Any]:
    """The grant that an approval would make, for trying it."""
    asked = request["asked"]
    body = {
        "to": {"subject": request["requester"]},
        "actions": asked["actions"],
        "on": {"dataset": _WANTED},
        "environments": asked["environments"],
        "until": asked["until"],
        "because": request["because"],
    }
    return {"kind": "grant", "id": "ann-reads-invoices", "body": body}
