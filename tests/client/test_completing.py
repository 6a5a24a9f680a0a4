"""What Tab offers: names from files alone, without a connection and without the project's code."""

from __future__ import annotations

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
