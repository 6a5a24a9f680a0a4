"""What Tab offers: names from files alone, without a connection and without the project's code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from kedro_muniment.command_line.commands import commands
from kedro_muniment.leases import kept


@pytest.fixture
def offered(governed, monkeypatch):
    """What is offered behind ``kedro muniment …`` inside the governed project."""
    monkeypatch.chdir(governed.path)

    def offer(*words):
        *before, typed = words
        found = ShellComplete(commands, {}, "kedro", "_KEDRO_COMPLETE").get_completions(["muniment", *before], typed)
        return [each.value for each in found]

    return offer


def test_datasets_are_offered_by_both_names(governed, service, offered):
    service.serve("sales.targets", governed.json_at("targets"), "load")
    service.serve("sales.{region}_orders", governed.json_at("{region}"), "load")
    governed.context()
    asked = len(service.asked)
    assert offered("show", "") == ["orders", "report", "sales.orders", "sales.report", "sales.targets"]
    assert offered("why", "sales.t") == ["sales.targets"]
    assert offered("request", "orders", "rep") == ["report"]
    assert len(service.asked) == asked


def test_without_a_kept_lease_the_projects_own_file_is_read(offered):
    assert offered("show", "sales.") == ["sales.orders", "sales.report"]


@pytest.mark.parametrize("damage", [b"", b"{", b"{}\n[]", b"{}\n{", b"\xff\n\xff"])
def test_what_cannot_be_read_is_not_offered(governed, offered, damage):
    governed.context()
    for file in kept.directory().glob("*.lease"):
        file.write_bytes(damage)
    governed.write("conf/local/muniment.yml", "[")
    assert offered("show", "ord") == ["orders"]


def test_pipelines_and_environments_are_folders(governed, offered):
    for name in ("cleaning", "reporting", "_private"):
        governed.write(f"src/{governed.package}/pipelines/{name}/__init__.py", "raise RuntimeError('imported')\n")
    governed.write("conf/prod/.gitkeep", "")
    assert offered("check", "--pipeline", "") == ["__default__", "cleaning", "reporting"]
    assert offered("check", "--env", "") == ["base", "local", "prod"]


def test_outside_a_project_nothing_is_offered(offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert offered("show", "") == offered("list", "--env", "") == []


def test_through_kedro_itself_help_and_tab_open_no_connection_and_load_nothing_heavy(governed):
    ran = governed.python(
        """
        import io, os, socket, sys
        from contextlib import redirect_stdout
        def refused(*_):
            raise AssertionError("a connection was opened")
        socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused
        from kedro.framework.cli.cli import main
        said = []
        def kedro(*words, **env):
            sys.argv = ["kedro", *words]
            os.environ.update(env)
            with redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as out:
                try:
                    main()
                except SystemExit as ended:
                    assert not ended.code, ended.code
            said.append(out.buffer.getvalue().decode())
        kedro("muniment", "--help")
        kedro("muniment", "check", "--help")
        kedro(_KEDRO_COMPLETE="bash_complete", COMP_WORDS="kedro muniment show sales.o", COMP_CWORD="3")
        print("SAID", "Exit codes" in said[0], "Examples:" in said[1], "plain,sales.orders" in said[2])
        late = ("authlib", "httpx", "cryptography", "joserfc", "kedro_datasets", "pandas", "kedro_muniment.governing",
                "kedro_muniment.sign_in.jobs", "kedro_muniment.sign_in.people")
        print("LOADED", [name for name in late if name in sys.modules])
        """
    )
    assert "SAID True True True" in ran.stdout, ran.stdout + ran.stderr
    assert "LOADED []" in ran.stdout, ran.stdout


# --- the lines for a shell's start-up file, as the documentation has them ---------------------------

LINES: dict[str, str] = dict(
    re.findall(
        r'^```bash title="~/\.(bash|zsh)rc"\n(.+?)\n```$',
        (Path(__file__).parents[2] / "docs/how-to/use-it-in-a-kedro-project.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.fixture
def bash(governed):
    """What bash says to a script inside the governed project, on standard output and on standard error."""

    def run(script):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "PATH": path, "DO_NOT_TRACK": "1"}
        said = subprocess.run(
            ["bash", "-c", script], cwd=governed.path, env=env, capture_output=True, text=True, check=False
        )
        return said.stdout, said.stderr

    return run


def test_the_line_for_bash_makes_names_come_at_tab_and_says_nothing(bash):
    typed = "COMP_WORDS=(kedro muniment show sales.); COMP_CWORD=3; _kedro_completion kedro"
    assert bash(f'{LINES["bash"]}; {typed}; echo "${{COMPREPLY[@]}}"') == ("sales.orders sales.report\n", "")


def test_the_line_for_zsh_keeps_the_log_out_of_what_zsh_reads(bash):
    """Zsh takes lines three by three, so one of the log would shift all of them."""
    made, said = bash(LINES["zsh"].replace('eval "$(', "").removesuffix(')"'))
    assert (made.splitlines()[0], said) == ("#compdef kedro", "")
    asking = re.search(r'"\$\{\(@f\)\$\((.+)\)\}"', made)[1]
    asking = re.sub(r"COMP_WORDS=.* COMP_CWORD=\S+", 'COMP_WORDS="kedro muniment show sales." COMP_CWORD=3', asking)
    assert bash(asking) == ("plain\nsales.orders\n_\nplain\nsales.report\n_\n", "")
