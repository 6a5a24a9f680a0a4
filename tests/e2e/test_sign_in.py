"""People sign in from the client at a whole service: `muniment serve`, and providers that others wrote.

Ann has a terminal and no browser, and Zoe a browser whose provider wants the redirect address to the letter.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pexpect
import pytest

from tests.providers import canaille, oidc_provider

DEVICE = re.compile(r"/device\?user_code=([A-Z]{4}-[A-Z]{4})")
AUTHORIZE = re.compile(r"(http://127\.0\.0\.1:\d+/[^\s\x1b]+code_challenge[^\s\x1b]+)")


@pytest.fixture(scope="module")
def corp():
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def lab():
    with canaille.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def muniment(served, corp, lab):
    """The address of a service that believes both."""
    at_corp = {
        "name": "corp",
        "default": True,
        "issuer": corp.issuer,
        "audience": "muniment",
        "client_id": oidc_provider.PEOPLE,
        "scopes": ["openid", "offline_access"],
        "resource": oidc_provider.RESOURCE,
    }
    at_lab = {
        "name": "lab",
        "issuer": lab.issuer,
        "audience": "muniment",
        "client_id": canaille.PEOPLE,
        "algorithms": ["RS512"],
        "scopes": ["openid"],
    }
    with served("sign_in", at_corp, at_lab, MUNIMENT_BOOTSTRAP_ADMIN="user:root") as url:
        yield url


@pytest.fixture
def person(muniment, own_environment, tmp_path):
    """Somebody at a terminal, in a folder that is no project, with a configuration directory of their own."""
    env = own_environment(
        MUNIMENT_URL=muniment, XDG_CONFIG_HOME=str(tmp_path), PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring"
    )
    command = [sys.executable, "-m", "kedro", "muniment"]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    def terminal(*arguments):
        return pexpect.spawn(
            command[0], [*command[1:], *arguments], cwd=tmp_path, env=env, encoding="utf-8", timeout=120,
            dimensions=(40, 3000),
        )  # fmt: skip

    run.terminal = terminal
    return run


def answer(ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_ann_signs_in_by_a_code_asks_who_she_is_and_signs_out(person, corp, muniment):
    terminal = person.terminal("login")
    terminal.expect(DEVICE)
    corp.approve_device(terminal.match.group(1), "ann")
    terminal.expect(f"Signed in to {muniment} as user:ann")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    known = answer(person("whoami", "--json"))
    assert (known["subject"], known["issuer"], known["groups"]) == ("user:ann", "corp", ["group:analysts"])
    assert answer(person("logout", "--json"))["signed_out"][0]["revoked"] is True
    assert person("whoami").returncode == 3


def test_zoe_signs_in_with_a_browser_at_the_port_that_her_provider_knows(person, lab, muniment):
    port = str(urlsplit(canaille.REDIRECT).port)
    terminal = person.terminal("login", "--issuer", "lab", "--browser", "--port", port)
    terminal.expect(AUTHORIZE)
    back = lab.sign_in_browser(terminal.match.group(1), "zoe")
    assert httpx.get(back, trust_env=False).status_code == 200
    terminal.expect(rf"Signed in to {muniment} as user:lab\|")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert answer(person("whoami", "--json"))["issuer"] == "lab"
