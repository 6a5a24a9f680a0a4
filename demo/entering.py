"""The company enters Muniment, over REST and each by who has the right to.

Ada, the first administrator, makes environments, groups, domains and the first rules; Gita writes the
guardrails; the stewards declare what is theirs and say who may use it. What stands already as it was
entered is left alone, so a second start changes nothing, and one that was interrupted goes on where it
was. What somebody changed by hand since then stays as they left it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml

from demo.issuer import RunningIssuer
from demo.place import Place
from demo.servers import ADMINISTRATOR, PEOPLE, pages_at
from demo.telling import DemonstrationFailed

COMPANY = PEOPLE.parent

#: What the company has at least; the files are checked against it before anything is entered.
_AT_LEAST = {"domains": 4, "datasets": 40, "policies": 15, "grants": 8, "groups": 10, "environments": 2}


@dataclass(frozen=True)
class Thing:
    """One thing that somebody enters: its address and its text."""

    kind: str
    name: str
    by: str
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The thing's place below ``/v1``."""
        return f"{self.kind}/{self.name}"

    @property
    def sha256(self) -> str:
        """A digest of the text."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


@dataclass
class Entered:
    """What entering the company came to."""

    counts: Counter[str] = field(default_factory=Counter)
    written: int = 0
    changed_by_others: list[str] = field(default_factory=list)
    revision: int = 0


@dataclass
class Desk:
    """Where anybody of the company asks the service, as themselves."""

    url: str
    issuer: RunningIssuer
    http: httpx.Client
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def pages(self) -> str:
        """Where a browser finds the service."""
        return pages_at(httpx.URL(self.url).port or 80)

    def token(self, person: str) -> str:
        """An access token of this person, asked for once."""
        if person not in self._tokens:
            known = people()[person]
            is_service = known.get("kind") == "service"
            self._tokens[person] = (
                self.issuer.service_token(person, known["secret"]) if is_service else self.issuer.token(person)
            )
        return self._tokens[person]

    def sign_in(self, person: str) -> str:
        """A new access token of this person, which is theirs from now on."""
        self._tokens.pop(person, None)
        return self.token(person)

    def answer(self, credential: str, path: str) -> httpx.Response:
        """What the service answers whoever comes with this token or key."""
        return self.http.get(self.url + path, headers={"Authorization": f"Bearer {credential}"})

    def get(self, person: str, path: str, **params: str) -> Any:
        """What the service answers this person."""
        return self._asked(person, "GET", path, params=params).json()

    def put(self, thing: Thing, version: int | None) -> int:
        """Write a thing over the version that stands, or as a new one; the version that it has then."""
        condition = {"If-None-Match": "*"} if version is None else {"If-Match": f'"{version}"'}
        path = f"/v1/{thing.kind}/{quote(thing.name, safe='')}"
        answer = self._asked(thing.by, "PUT", path, json=dict(thing.body), headers=condition)
        return int(answer.json()["version"])

    def post(self, person: str, path: str, body: Mapping[str, Any]) -> Any:
        """What the service answers to something that this person sends."""
        return self._asked(person, "POST", path, json=dict(body)).json()

    def refused(self, person: str, path: str, body: Mapping[str, Any], problem: str) -> str:
        """The words with which the service refuses what this person sends, as this problem."""
        answer = self._sent(person, "POST", path, json=dict(body))
        if answer.is_success or answer.json().get("type") != problem:
            raise DemonstrationFailed(f"{person}: POST {path} should be refused as {problem}: {answer.text[:300]}")
        return str(answer.json()["detail"])

    def _asked(
        self, person: str, method: str, path: str, headers: Mapping[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        answer = self._sent(person, method, path, headers, **rest)
        if answer.is_success:
            return answer
        raise DemonstrationFailed(f"{person}: {method} {path} was refused with {answer.status_code}: {_words(answer)}")

    def _sent(
        self, person: str, method: str, path: str, headers: Mapping[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token(person)}", "Accept": "application/json", **(headers or {})}
        return self.http.request(method, self.url + path, headers=sent, **rest)


def enter_company(desk: Desk, place: Place) -> Entered:
    """Make the service hold the company as the files say it, and nothing twice."""
    things = list(read_company(place.lake, place.first_start))
    entered = Entered(Counter(thing.kind for thing in things))
    _refuse_a_smaller_one(entered.counts)
    standing = _standing(desk, set(entered.counts))
    try:
        for thing in things:
            _enter(desk, place, thing, standing.get(thing.key), entered)
    finally:
        place.remember()
    entered.revision = int(desk.get(ADMINISTRATOR, "/v1/whoami")["revision"])
    return entered


def read_company(lake: Path, first_start: datetime) -> Iterator[Thing]:
    """Everything there is to enter, in an order in which each may be entered."""
    company = _file("company.yml", lake)
    for name, body in company["environments"].items():
        yield Thing("environments", name, ADMINISTRATOR, body)
    for name, body in company["groups"].items():
        yield Thing("groups", name, ADMINISTRATOR, body or {})
    for name, body in company["domains"].items():
        own = {} if "." in name else {"locations": [f"{lake.as_uri()}/{name}/"]}
        yield Thing("domains", name, ADMINISTRATOR, {**body, **own})
    grants = [_by_someone("grants", *item, first_start) for item in _file("grants.yml", lake).items()]
    yield from (grant for grant in grants if grant.by == ADMINISTRATOR)
    for name, given in _file("policies.yml", lake).items():
        rule = given if "form" in given else {**given, "cedar": _cedar(name)}
        yield _by_someone("policies", name, rule, first_start)
    for file in sorted((COMPANY / "datasets").glob("*.yml")):
        yield from _datasets(_file(file.relative_to(COMPANY), lake))
    yield from (grant for grant in grants if grant.by != ADMINISTRATOR)


def people() -> dict[str, Mapping[str, Any]]:
    """Everybody, services among them, as the issuer knows them."""
    found: dict[str, Mapping[str, Any]] = json.loads(PEOPLE.read_text())
    return found


def introduced(person: str) -> str:
    """A person by name and job."""
    claims = people()[person]["claims"]
    return f"{claims['name']}, {claims['job']}"


def _enter(desk: Desk, place: Place, thing: Thing, version: int | None, entered: Entered) -> None:
    """Write what is missing, or is not what was entered before."""
    known = place.entered.get(thing.key)
    if version is not None and known is not None and known["sha256"] == thing.sha256:
        if version != known["version"]:
            entered.changed_by_others.append(thing.key)
        return
    place.entered[thing.key] = {"sha256": thing.sha256, "version": desk.put(thing, version)}
    entered.written += 1


def _standing(desk: Desk, kinds: set[str]) -> dict[str, int]:
    """The version of everything that the service holds, by its place."""
    found = {}
    for kind in kinds:
        page: Mapping[str, Any] = {"next": ""}
        while page["next"] is not None:
            page = desk.get(ADMINISTRATOR, f"/v1/{kind}", limit="1000", after=page["next"])
            for item in page["items"]:
                found[f"{kind}/{item.get('name') or item['id']}"] = int(item["version"])
    return found


def _datasets(file: Mapping[str, Any]) -> Iterator[Thing]:
    for leaf, given in file["datasets"].items():
        body = {key: value for key, value in given.items() if key not in {"base", "dev", "prod"}}
        body["environments"] = {name: given[name] for name in ("base", "dev", "prod") if name in given}
        body["columns"] = [{"name": name, **column} for name, column in given.get("columns", {}).items()]
        yield Thing("datasets", f"{file['domain']}.{leaf}", file["by"], body)


def _by_someone(kind: str, name: str, given: Mapping[str, Any], first_start: datetime) -> Thing:
    body = {key: value for key, value in given.items() if key != "by"}
    return Thing(kind, name, given["by"], _with_times(body, first_start))


def _with_times(body: Mapping[str, Any], first_start: datetime) -> dict[str, Any]:
    """The same with moments in the place of ``+30d``."""
    filled: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            filled[key] = _with_times(value, first_start)
        elif key in {"until", "valid_from", "valid_to"}:
            moment = first_start + timedelta(days=int(str(value).removeprefix("+").removesuffix("d")))
            filled[key] = moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
        else:
            filled[key] = value
    return filled


def _file(name: str | Path, lake: Path) -> dict[str, Any]:
    text = (COMPANY / name).read_text(encoding="utf-8").replace("lake://", f"{lake.as_uri()}/")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _cedar(name: str) -> str:
    return (COMPANY / "policies" / f"{name}.cedar").read_text(encoding="utf-8")


def _refuse_a_smaller_one(counts: Mapping[str, int]) -> None:
    small = [f"{counts[kind]} {kind} of {least}" for kind, least in _AT_LEAST.items() if counts[kind] < least]
    if small:
        raise DemonstrationFailed(f"The files in {COMPANY} hold too little of a company: {', '.join(small)}.")


def _words(answer: httpx.Response) -> str:
    """What a refusal says, with each of its faults."""
    try:
        problem = answer.json()
        faults = [f"{fault.get('at')}: {fault.get('message')}" for fault in problem.get("errors", [])]
        return " ".join([str(problem["detail"]), *faults])
    except (ValueError, KeyError, AttributeError):
        return answer.text[:300] or "no words"
