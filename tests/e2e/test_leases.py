"""The lease that the service signs is the one that the client believes, keeps, and goes on from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kedro_muniment.entries.guarded import Guard, Terms
from kedro_muniment.entries.refused import UseRefused
from kedro_muniment.leases import following, lease
from kedro_muniment.problems import Unreachable
from kedro_muniment.service import Service
from kedro_muniment.sign_in.tokens import Token

ASKED = {"environment": "quay", "project": "tides", "purpose": "forecast"}


@pytest.fixture(scope="module")
def harbour(service: Any) -> Any:
    """Ann may load the tides of each port, in the environment `quay`."""
    service.make("ada", "environments", "quay")
    service.make("ada", "domains", "harbour", owner="group:pilots", locations=["s3://harbour/"])
    for leaf, name in (("tides", "tides"), ("{port}_tides", "{port}")):
        definition = {"type": "json.JSONDataset", "filepath": f"s3://harbour/{name}.json"}
        service.make("ada", "datasets", f"harbour.{leaf}", environments={"base": definition})
    given = {"actions": ["load"], "on": {"domain": "harbour"}, "because": "she forecasts them"}
    service.make("ada", "grants", "ann-harbour", to={"subject": "user:ann"}, **given)
    return service


@pytest.fixture
def ann(harbour: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Service(harbour.url, Token(harbour.issuer.token("ann")))


@pytest.mark.parametrize(
    "asked", [{"environment": "quay"}, ASKED, {**ASKED, "names": "harbour.ost_tides,harbour.tides"}]
)
def test_what_the_service_signs_is_believed_kept_and_gone_on_from(ann: Service, asked: dict[str, str]) -> None:
    given = lease.fetch(ann, asked)
    assert "harbour.tides" in given.catalog
    assert ("harbour.ost_tides" in given.catalog) is ("names" in asked)
    assert (given.subject, given.environment, given.away) == ("user:ann", "quay", None)
    assert timedelta(hours=11) < given.until - given.issued <= timedelta(hours=12)
    extended = lease.fetch(ann, asked)
    assert extended.catalog == given.catalog
    assert extended.receipt != given.receipt
    ann.memory.note_away("Nobody is there. Nothing was run.")
    kept = lease.fetch(ann, asked)
    assert (kept.catalog, kept.receipt, kept.away) == (given.catalog, extended.receipt, "Nobody is there.")
    with pytest.raises(Unreachable, match=r"it ended at .* A run starts again when the service can be reached"):
        lease.fetch(ann, asked, given.until + timedelta(minutes=1))


def test_a_body_that_was_changed_on_its_way_is_refused(ann: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a proxy that opens the connection, say: the signature is over the body as it is read."""
    ask = Service.lease

    def changed(*given: Any) -> Any:
        answer = ask(*given)
        content = answer.content.replace(b"s3://harbour/tides.json", b"s3://elsewhere/it.json")
        return type(answer)(answer.status, answer.headers, json.loads(content), content)

    monkeypatch.setattr(Service, "lease", changed)
    with pytest.raises(Exception, match="what came with it is not what was signed"):
        lease.fetch(ann, ASKED)


@pytest.mark.parametrize("name", ["harbour.tides", "harbour.ost_tides"])
def test_past_the_end_of_a_lease_the_service_is_asked_for_the_next(
    ann: Service, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MUNIMENT_TOKEN", ann.token._secret)
    is_made = name == "harbour.ost_tides"
    given = lease.fetch(ann, {**ASKED, "names": name} if is_made else ASKED)
    terms = replace(Terms.of(given, ann.url, ASKED), until=given.issued)
    mark = following.fingerprint(given.catalog[name])
    later = Guard(name, name, ("load",), None, terms, mark, is_made).allowing("load")
    assert later.terms.until > given.issued + timedelta(hours=11)
    assert later.terms.receipt != given.receipt
    with pytest.raises(UseRefused, match="with another definition now"):
        Guard(name, name, ("load",), None, terms, mark + 1, is_made).allowing("load")
