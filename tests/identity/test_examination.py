"""What whoever runs the service is told of a token: the same verdict as at the doors, and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from muniment.core.problems import TokenRefused
from muniment.identity.bearer import Bearer
from muniment.identity.examination import Outcome, examine
from muniment.identity.issuers import issuers_from
from tests.identity.test_crafted_tokens import ABSENT, CRAFTED, Forge
from tests.identity.test_introspection import ENDPOINT, OPAQUE, SECRET, configured, says

pytestmark = pytest.mark.anyio


def words(examined, check):
    return [found.words for found in examined.findings if found.check == check]


def wrong(examined):
    return [found.check for found in examined.findings if found.outcome is Outcome.WRONG]


async def test_a_good_token_holds_and_says_who_signs_in_with_it(issuers, corp, http, now):
    examined = await examine(corp.token("ann"), issuers, http, now)
    assert examined.outcome is Outcome.HOLDS
    assert str(examined.state.subject) == "user:ann"
    assert examined.state.groups == {"analysts"}
    assert [found.check for found in examined.findings] == [
        "form", "issuer", "algorithm", "signature", "audience", "times", "purpose", "subject", "profile", "mapping",
    ]  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
async def test_a_token_that_the_doors_refuse_is_wrong_here_and_not_shown(issuers, corp, lab, http, now, name):
    token = CRAFTED[name][0](Forge(corp, now, lab))
    examined = await examine(token, issuers, http, now)
    assert examined.outcome is Outcome.WRONG
    with pytest.raises(TokenRefused):
        await Bearer(issuers, http).verify(token, now)
    said = "\n".join(found.words for found in examined.findings)
    *_, signature = token.split(".")
    assert len(signature) < 8 or signature not in said


async def test_every_fault_is_named_and_not_the_first_alone(issuers, corp, http, now):
    past = int(now.timestamp()) - 3600
    token = Forge(corp, now).signed({"typ": "at+jwt"}, aud="grafana", exp=past, iat=ABSENT, groups=7)
    examined = await examine(token, issuers, http, now)
    assert wrong(examined) == ["audience", "times", "profile", "mapping"]
    assert words(examined, "audience") == [
        'The token was not made for this service, whose audience is “muniment”: aud "grafana"'
    ]
    assert "has expired" in words(examined, "times")[0]
    assert "iat is not there" in words(examined, "times")[0]
    assert "no “client_id”: client_id is not there, jti is not there" in words(examined, "profile")[0]


async def test_claims_that_are_mapped_and_not_there_are_named(issuers, corp, http, now):
    examined = await examine(Forge(corp, now).signed(), issuers, http, now)
    assert examined.outcome is Outcome.HOLDS
    absent = {found.check: found.words for found in examined.findings if found.outcome is Outcome.ABSENT}
    assert absent["groups"] == "there is no claim “groups”"
    assert absent["attribute clearance"] == "there is no claim “clr”"


async def test_groups_that_were_left_out_are_explained(issuers, corp, http, now):
    token = Forge(corp, now).signed(_claim_names={"groups": "src1"}, _claim_sources={"src1": {"endpoint": "x"}})
    examined = await examine(token, issuers, http, now)
    assert wrong(examined) == ["mapping"]
    assert "overage" in words(examined, "mapping")[0]


async def test_an_issuer_that_is_almost_the_one_is_shown_beside_it(issuers, corp, http, now):
    examined = await examine(Forge(corp, now).signed(iss=corp.url + "/"), issuers, http, now)
    assert wrong(examined) == ["issuer"]
    assert f'iss "{corp.url}/"; the settings name {corp.url}' in words(examined, "issuer")[0]


async def test_offline_nothing_is_asked_and_the_signature_stays_open(site, now):
    site.publish()
    issuers = issuers_from([{"name": "site", "issuer": site.url, "audience": "muniment", "default": True}])
    examined = await examine(site.token(now), issuers, None, now)
    assert (examined.outcome, wrong(examined)) == (Outcome.UNCHECKED, [])
    assert examined.state.subject.id == "ann"
    assert not site.asked
    other = issuers_from([{"name": "site", "issuer": site.url, "audience": "payroll", "default": True}])
    assert (await examine(site.token(now), other, None, now)).outcome is Outcome.WRONG


async def test_an_issuer_that_is_away_leaves_the_signature_open(site, http, now):
    issuers = issuers_from([{"name": "site", "issuer": site.url, "audience": "muniment", "default": True}])
    examined = await examine(site.token(now), issuers, http, now)
    assert examined.outcome is Outcome.UNCHECKED
    assert "status 404" in words(examined, "signature")[0]


async def test_each_rule_of_workloads_says_what_it_misses(corp, http, now):
    rules = [
        {"as": "etl", "where": {"repository_id": "7401", "ref": "refs/heads/main"}},
        {"as": "other", "where": {"repository_id": "7402"}},
    ]
    given = {"name": "gh", "issuer": corp.url, "audience": "muniment", "default": True, "workloads": rules}
    token = Forge(corp, now).signed(repository_id="7401", ref="refs/heads/dev")
    examined = await examine(token, issuers_from([given]), http, now)
    assert wrong(examined) == ["mapping", "workload etl", "workload other"]
    assert words(examined, "workload etl") == ['does not hold for ref "refs/heads/dev"']


async def test_an_opaque_token_is_asked_about(site, http, now):
    says(site, now)
    examined = await examine(OPAQUE, configured(site), http, now)
    assert examined.outcome is Outcome.HOLDS
    assert examined.state.subject.id == "ann"
    says(site, now, aud="grafana")
    examined = await examine(OPAQUE, configured(site), http, now)
    assert wrong(examined) == ["answer"]
    says(site, now, active=False)
    assert wrong(await examine(OPAQUE, configured(site), http, now)) == ["introspection"]
    site.answers[ENDPOINT].status = 500
    assert (await examine(OPAQUE, configured(site), http, now)).outcome is Outcome.UNCHECKED
    assert (await examine(OPAQUE, configured(site), None, now)).outcome is Outcome.UNCHECKED
    shown = repr(await examine(OPAQUE, configured(site), http, now))
    assert OPAQUE not in shown
    assert SECRET not in shown


async def test_an_opaque_token_that_nobody_can_be_asked_about_is_wrong(issuers, http, now):
    assert wrong(await examine(OPAQUE, issuers, http, now)) == ["form"]


async def test_a_key_of_our_own_is_no_token_of_an_issuer(issuers, http, now):
    assert (await examine("mun_abc", issuers, http, now)).outcome is Outcome.UNCHECKED


def doctor(corp, *arguments, token=None):
    issuers = [{"name": "corp", "issuer": corp.url, "audience": "muniment", "default": True}]
    surroundings = {"PATH": os.environ["PATH"], "MUNIMENT_ISSUERS": json.dumps(issuers)}
    command = [Path(sys.executable).with_name("muniment"), "doctor", "identity", *arguments]
    return subprocess.run(command, input=token, env=surroundings, capture_output=True, text=True, check=False)


def test_the_command_reads_a_token_from_standard_input_and_never_shows_it(corp, now):
    token = corp.token("ann")
    ended = doctor(corp, "--token", "-", token=token + "\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert 'subject: "user:ann"' in ended.stdout
    assert 'groups: ["analysts"]' in ended.stdout
    assert not [part for part in token.split(".") if part in ended.stdout]


def test_the_command_says_by_its_exit_code_what_it_found(corp, now):
    wrong_one = doctor(corp, "--token", Forge(corp, now).signed(aud="grafana"), "--json")
    told = json.loads(wrong_one.stdout)
    assert (wrong_one.returncode, told["outcome"], told["subject"]) == (1, "wrong", "user:ann")
    assert {"check": "purpose", "outcome": "holds", "words": told["findings"][6]["words"]} == told["findings"][6]
    open_one = doctor(corp, "--token", "-", "--offline", token=corp.token("ann"))
    assert (open_one.returncode, open_one.stdout.splitlines()[-1]) == (
        2,
        "Nothing is wrong with the token in what could be checked.",
    )
    assert doctor(corp).returncode == 2
