"""People sign in at the certified provider: in a terminal, behind a pipe, in a notebook, with a browser; and out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading

import httpx
import nbformat
import pexpect
import pytest
from nbclient import NotebookClient

from kedro_muniment.problems import NotSignedIn
from kedro_muniment.sign_in import keeping, people
from kedro_muniment.sign_in.signing_in import token
from tests.providers import oidc_provider
from tests.providers.oidc_provider import PEOPLE, RESOURCE

KEDRO = [sys.executable, "-m", "kedro", "muniment"]
LINK = re.compile(r"(http://127\.0\.0\.1:\d+/device\?user_code=([A-Z]{4}-[A-Z]{4}))")
AUTHORIZE = re.compile(r"(http://127\.0\.0\.1:\d+/auth\?[^\s\x1b]+)")


@pytest.fixture(scope="module")
def provider():
    with oidc_provider.running() as running:
        yield running


@pytest.fixture
def signing_in(provider, service, project, monkeypatch):
    """A service that believes the provider, and nobody signed in."""
    service.issuers = [
        {
            "name": "corp",
            "issuer": provider.issuer,
            "client_id": PEOPLE,
            "default": True,
            "scopes": ["openid", "offline_access"],
            "resource": RESOURCE,
            "audience": "muniment",
        }
    ]
    monkeypatch.delenv("MUNIMENT_TOKEN")
    del project.env["MUNIMENT_TOKEN"]
    project.configure(service.url)
    return service


class Told:
    """Whoever is told where to sign in."""

    def invite(self, invitation):
        """Signs in, or does not."""

    def say(self, line):
        raise AssertionError(line)


def signed_in(provider, service, account="ann"):
    """Signed in by device, approved as soon as the code is shown."""

    class Approving(Told):
        def invite(self, invitation):
            provider.approve_device(invitation.code, account)

    return people.login(service.url, Approving(), way="device", wait=lambda _: None)


def read_until(stream, pattern):
    text = ""
    for line in stream:
        text += line
        found = pattern.search(text)
        if found:
            return found
    raise AssertionError(text)


def test_in_a_terminal_the_link_and_the_code_are_shown_and_the_sign_in_is_kept(provider, signing_in, project):
    terminal = pexpect.spawn(
        KEDRO[0], [*KEDRO[1:], "login"], cwd=project.path, env=project.env, encoding="utf-8", timeout=120,
        dimensions=(40, 200),
    )  # fmt: skip
    terminal.expect(LINK)
    code = terminal.match.group(2)
    terminal.expect(code)
    provider.approve_device(code, "ann")
    terminal.expect(rf"Signed in to {signing_in.url} as user:ann")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    told = project.kedro("muniment", "whoami", "--json")
    answer = json.loads(told.stdout.splitlines()[-1])
    assert (answer["subject"], answer["service"]) == ("user:ann", signing_in.url)
    assert provider.issuer in answer["credential"]
    assert answer["until"] > "2026"
    assert project.kedro("muniment", "doctor").returncode == 0


def test_behind_a_pipe_the_link_stands_on_standard_error_and_the_answer_alone_on_standard_output(
    provider, signing_in, project, tmp_path
):
    command = [*KEDRO, "login", "--json"]
    with (
        (tmp_path / "out").open("w+") as out,
        subprocess.Popen(
            command, cwd=project.path, env=project.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):  # fmt: skip
        link, code = read_until(process.stderr, LINK).groups()
        assert httpx.get(link, trust_env=False).status_code == 200
        provider.approve_device(code, "ann")
        rest = process.stderr.read()
        assert process.wait(120) == 0, rest
        out.seek(0)
        answer = json.loads(out.read().splitlines()[-1])
    assert (answer["subject"], answer["renewed"]) == ("user:ann", True)
    assert answer["kept"].startswith(str(project.path / "config"))


def test_in_a_notebook_the_link_is_the_cells_output_which_says_at_the_end_who_signed_in(
    provider, signing_in, project, monkeypatch
):
    for name, value in {**project.env, "MUNIMENT_URL": signing_in.url, "IPYTHONDIR": str(project.path)}.items():
        monkeypatch.setenv(name, value)
    cells = ["from kedro_muniment import login\nlogin()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    seen = []

    def approve(cell, cell_index):
        for _ in range(1200):
            text = json.dumps([output.get("data", output) for output in cell.outputs])
            found = LINK.search(text)
            if found:
                seen.append(text)
                provider.approve_device(found[2], "ann")
                return
            threading.Event().wait(0.1)

    def beside(cell, cell_index):
        threading.Thread(target=approve, args=(cell, cell_index), daemon=True).start()

    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        on_cell_execute=beside,
        resources={"metadata": {"path": str(project.path)}},
    ).execute()
    assert 'target=\\"_blank\\"' in seen[0]
    (output,) = notebook.cells[0].outputs
    assert f"Signed in to {signing_in.url} as user:ann" in output["data"]["text/plain"]


def test_with_a_browser_the_code_comes_back_to_a_loopback_address(provider, signing_in, project):
    terminal = pexpect.spawn(
        KEDRO[0], [*KEDRO[1:], "login", "--browser"], cwd=project.path, env=project.env, encoding="utf-8", timeout=120,
        dimensions=(40, 2000),
    )  # fmt: skip
    terminal.expect(AUTHORIZE)
    back = provider.sign_in_browser(terminal.match.group(1), "sam")
    page = httpx.get(back, trust_env=False)
    assert page.status_code == 200
    assert "You can close this page" in page.text
    terminal.expect("as user:sam")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_who_refuses_at_the_provider_is_told_so_and_nothing_is_kept(provider, signing_in, project):
    class Refusing(Told):
        def invite(self, invitation):
            provider.refuse_device(invitation.code)

    with pytest.raises(NotSignedIn, match="The sign-in was refused"):
        people.login(signing_in.url, Refusing(), way="device", wait=lambda _: None)
    assert keeping.known() == []


def test_a_kept_sign_in_is_renewed_when_it_is_near_its_end(provider, signing_in, project):
    sign_in, tokens = signed_in(provider, signing_in)
    assert token(signing_in.url).is_same(tokens.access)
    _end(sign_in, tokens)
    renewed = token(signing_in.url)
    assert not renewed.is_same(tokens.access)
    assert renewed.subject == "user:ann"
    assert token(signing_in.url).is_same(renewed)


def test_eight_processes_at_once_renew_once(provider, signing_in, project):
    sign_in, tokens = signed_in(provider, signing_in)
    _end(sign_in, tokens)
    before = provider.asked("/token")
    code = (
        "import sys; from kedro_muniment.sign_in import keeping, renewing, providers, jobs; import httpx\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "import hashlib; from kedro_muniment.sign_in.signing_in import token\n"
        f"print(hashlib.sha256(token({signing_in.url!r}).revealed().encode()).hexdigest())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=project.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate()[0] for process in processes}
    assert len(found) == 1
    assert found != {""}
    assert provider.asked("/token") == before + 1


def test_a_sign_in_that_the_provider_ended_is_forgotten_and_the_way_back_is_told(provider, signing_in, project):
    sign_in, tokens = signed_in(provider, signing_in)
    _end(sign_in, tokens)
    provider.end_sessions("ann")
    with pytest.raises(NotSignedIn, match=r"is over.*Sign in again: kedro muniment login"):
        token(signing_in.url)
    assert keeping.known() == []


def test_logout_revokes_what_was_given_and_forgets_it(provider, signing_in, project):
    sign_in, tokens = signed_in(provider, signing_in)
    ran = project.kedro("muniment", "logout", "--json")
    assert ran.returncode == 0, ran.stderr
    (ended,) = json.loads(ran.stdout.splitlines()[-1])["signed_out"]
    assert (ended["subject"], ended["revoked"]) == ("user:ann", True)
    assert keeping.known() == []
    keeping.keep(sign_in, tokens)
    _end(sign_in, tokens)
    with pytest.raises(NotSignedIn, match="is over"):
        token(signing_in.url)
    assert "You were not signed in" in project.kedro("muniment", "logout").stdout


def test_who_the_service_does_not_know_is_not_kept_and_the_provider_takes_it_back(provider, signing_in, project):
    signing_in.issuers[0]["resource"] = None  # an opaque token, for nobody in particular
    with pytest.raises(NotSignedIn, match="Token refused"):
        signed_in(provider, signing_in)
    assert keeping.known() == []
    assert provider.asked("/token/revocation") >= 1


def _end(sign_in, tokens):
    """Let the access token end now; the refresh token stays."""
    ended = keeping.Tokens(tokens.access, tokens.refresh, sign_in.since)
    with keeping.alone(sign_in):
        keeping.keep(sign_in, ended)
