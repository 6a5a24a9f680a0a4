"""The plugin as a guest: nothing where it is not configured, nothing broken where it is, nothing left behind."""

from __future__ import annotations

import hashlib
import json
import pickle
import stat
import traceback
from pathlib import Path

import pytest
from kedro.io import DatasetError

from kedro_muniment.problems import MunimentError
from kedro_muniment.sign_in.tokens import Token

SIGNATURE = "never-to-be-seen-signature"

WATCHED_RUN = """
    import logging, sys
    from pathlib import Path
    logged = []
    class Keep(logging.Handler):
        def emit(self, record):
            logged.append((record.levelno, record.getMessage()))
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    logging.getLogger("kedro_muniment").addHandler(Keep())
    bootstrap_project(Path.cwd())
    with KedroSession.create() as session:
        session.run()
    import kedro_muniment.hooks
    print("MODULES", sorted(m for m in ("httpx", "authlib", "kedro_muniment.service") if m in sys.modules))
    print("LOGGED", [entry for entry in logged if entry[0] > logging.DEBUG])
"""


def test_unconfigured_it_imports_no_client_asks_nothing_and_says_nothing(project, service):
    project.own(orders=project.json_at("orders", [1]), report=project.json_at("report"))
    ran = project.python(WATCHED_RUN, MUNIMENT_TOKEN=None)
    assert ran.returncode == 0, ran.stderr
    assert "MODULES []" in ran.stdout
    assert "LOGGED []" in ran.stdout
    assert service.asked == []


def test_configured_it_logs_one_line(governed):
    ran = governed.python(WATCHED_RUN)
    assert ran.returncode == 0, ran.stderr
    assert "MODULES ['httpx', 'kedro_muniment.service']" in ran.stdout, "nothing of OAuth for a token that is there"
    line = "2 governed datasets (1 read-only) as user:ann, env dev, revision 812"
    assert f"LOGGED [(20, '{line}')]" in ran.stdout


def test_help_and_tab_completion_ask_nothing(governed, service):
    assert governed.kedro("--help").returncode == 0
    assert governed.kedro("muniment", "--help").returncode == 0
    assert governed.kedro("run", "--help").returncode == 0
    governed.kedro(_KEDRO_COMPLETE="bash_complete", COMP_WORDS="kedro muniment ", COMP_CWORD="2")
    assert service.asked == []


def test_catalog_commands_work_and_show_served_entries_under_the_projects_names(governed):
    listed = governed.kedro("catalog", "describe-datasets")
    assert listed.returncode == 0, listed.stderr
    assert "orders" in listed.stdout
    assert "sales.orders" not in listed.stdout


def test_without_the_plugins_hooks_the_project_works_with_its_own_catalog(governed, service):
    governed.write(
        f"src/{governed.package}/settings.py",
        "DISABLE_HOOKS_FOR_PLUGINS = ('kedro-muniment',)\n"
        "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}\n",
    )
    governed.own(orders=governed.json_at("orders", [7]), report=governed.json_at("report"))
    governed.session().run()
    assert governed.first_node_ran
    assert service.asked == []


def test_without_the_plugin_installed_the_project_works(governed, service):
    governed.own(orders=governed.json_at("orders", [7]), report=governed.json_at("report"))
    ran = governed.python(
        """
        import sys, importlib.metadata as metadata
        class Gone:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "kedro_muniment":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Gone())
        found = metadata.distributions
        metadata.distributions = lambda **asked: [d for d in found(**asked) if d.metadata["Name"] != "kedro-muniment"]
        from pathlib import Path
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project
        bootstrap_project(Path.cwd())
        with KedroSession.create() as session:
            session.run()
        assert "kedro_muniment" not in sys.modules
        """
    )
    assert ran.returncode == 0, ran.stderr
    assert governed.first_node_ran
    assert service.asked == []


def test_ipython_loads_and_reloads_the_governed_catalog(governed, service):
    service.serve("sales.more", governed.json_at("more", [4]), "load")
    ran = governed.python(
        """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "kedro.ipython")
        shell.run_line_magic("reload_kedro", "")
        print("LOADED", shell.user_ns["catalog"].load("orders"), shell.user_ns["catalog"].load("sales.more"))
        """,
        IPYTHONDIR=str(governed.path / "ipython"),
    )
    assert ran.returncode == 0, ran.stderr
    assert "LOADED [1, 2] [4]" in ran.stdout


def test_packaged_projects_read_their_settings_from_an_archived_conf(governed, service, tmp_path):
    import tarfile
    import zipfile

    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    conf = governed.path / "conf"
    with tarfile.open(tmp_path / "conf.tar.gz", "w:gz") as tarred:
        tarred.add(conf, "conf")
    with zipfile.ZipFile(tmp_path / "conf.zip", "w") as zipped:
        for file in (found for found in conf.rglob("*") if found.is_file()):
            zipped.write(file, Path("conf") / file.relative_to(conf))
    bootstrap_project(governed.path)
    for name in ("conf.tar.gz", "conf.zip"):
        session = KedroSession.create(governed.path, conf_source=str(tmp_path / name), save_on_close=False)
        assert session.load_context().catalog.load("orders") == [1, 2]
    assert service.paths() == ["/v1/leases", "/v1/leases"]


def test_the_token_is_in_no_output_no_file_and_no_repr(governed, service):
    service.instead["/v1/preflight"] = (422, "application/problem+json", '{"title": "Oh no", "detail": "No."}')
    ran = governed.python(
        """
        import logging, sys
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
        from pathlib import Path
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project
        from kedro_muniment.hooks import hooks
        bootstrap_project(Path.cwd())
        logging.getLogger().setLevel(logging.DEBUG)
        session = KedroSession.create()
        context = session.load_context()
        print(repr(hooks.of(context)), repr(context), repr(context.config_loader), repr(vars(hooks)))
        print(context.catalog, context.catalog.to_config())
        session.run()
        """
    )
    assert "Oh no: No. (Muniment at http" in ran.stderr
    assert SIGNATURE not in ran.stdout + ran.stderr
    for file in governed.path.rglob("*"):
        assert not file.is_file() or SIGNATURE.encode() not in file.read_bytes(), file


def locals_of_the_plugin(error):
    """What the local variables of the plugin's frames show, as a logger of tracebacks writes them."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [repr(frame.f_locals) for frame in frames if "kedro_muniment" in Path(frame.f_code.co_filename).parts]


@pytest.mark.parametrize("token", ["mun_opaque_never-to-be-seen", "two words never-to-be-seen", "nêver-to-be-seen"])
def test_the_token_is_in_no_local_variable_of_a_traceback(governed, monkeypatch, token):
    monkeypatch.setenv("MUNIMENT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MUNIMENT_TOKEN", token)
    with pytest.raises(MunimentError) as refused:
        governed.context()
    shown = locals_of_the_plugin(refused.value)
    assert len(shown) > 2
    assert token not in " ".join(shown)
    assert "ver-to-be-seen" not in " ".join(shown)
    assert refused.value.__context__ is None  # nor the frames of the HTTP client, which hold the request


def test_plain_http_goes_through_no_proxy(governed, service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    assert governed.context().catalog.load("orders") == [1, 2]
    assert service.asked[0].headers["authorization"].startswith("Bearer ")


def test_a_token_shows_and_pickles_nothing():
    token = Token(SIGNATURE)
    assert SIGNATURE not in f"{token!r}{token}{token.bearer()}"
    with pytest.raises(TypeError, match=r"not pickled"):
        pickle.dumps(token)


def kept(project):
    return list((project.path / "cache").rglob("*.lease"))


def edited(file, **said):
    """Change what stands beside the body of a kept lease."""
    head, _, body = file.read_bytes().partition(b"\n")
    file.write_bytes(json.dumps({**json.loads(head), **said}).encode() + b"\n" + body)


def test_a_second_start_transfers_no_body(governed, service):
    governed.context()
    catalog = governed.context().catalog
    assert [asked.status for asked in service.asked] == [200, 304]
    assert catalog.load("orders") == [1, 2]


def test_a_changed_catalog_is_honoured_by_the_next_start(governed, service):
    governed.context()
    service.serve("sales.orders", governed.json_at("other", [9]), "load")
    assert governed.context().catalog.load("orders") == [9]


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b'{"format": 1, "etag": "x"}', b"\xff\xfe", b"[" * 50_000])
def test_a_corrupted_cache_is_ignored_and_heals(governed, service, damage):
    governed.context()
    (file,) = kept(governed)
    file.write_bytes(damage)
    assert governed.context().catalog.load("orders") == [1, 2]
    governed.context()
    assert [asked.status for asked in service.asked] == [200, 200, 304]


def test_an_edited_cache_is_not_believed(governed, service):
    governed.context()
    (file,) = kept(governed)
    file.write_text(file.read_text().replace("orders.json", "others.json"))
    assert governed.context().catalog.load("orders") == [1, 2]
    assert [asked.status for asked in service.asked] == [200, 200]


@pytest.mark.parametrize("etag", ["\u00e9tag", "a\nb", "", None, 7])
def test_a_kept_tag_that_no_header_can_hold_is_not_sent(governed, service, etag):
    governed.context()
    (file,) = kept(governed)
    edited(file, etag=etag)
    assert governed.context().catalog.load("orders") == [1, 2]
    assert "if-none-match" not in service.asked[-1].headers


def test_a_kept_tag_of_another_body_brings_that_body(governed, service):
    """A 304 states the digest of what it stands for. Seen to fail: the old catalog came back under the new tag."""
    governed.context()
    (file,) = kept(governed)
    service.serve("sales.orders", governed.json_at("other", [9]), "load")
    text = json.dumps(service.lease(None))
    edited(file, etag=f'"{hashlib.sha256(text.encode()).hexdigest()}"')
    assert governed.context().catalog.load("orders") == [9]
    assert [asked.status for asked in service.asked] == [200, 304, 200]


def test_the_cache_is_its_owners_alone_and_each_subject_has_an_own(governed, service, monkeypatch):
    governed.context()
    (file,) = kept(governed)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("MUNIMENT_TOKEN", service.token_of("bob"))
    governed.context()
    assert "if-none-match" not in service.asked[-1].headers
    assert len(kept(governed)) == 2


def test_a_cache_that_others_could_have_written_is_not_believed(governed, service):
    governed.context()
    (file,) = kept(governed)
    file.chmod(0o622)
    governed.context()
    assert [asked.status for asked in service.asked] == [200, 200]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_user_without_a_home_has_no_cache_and_runs(governed, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert governed.context().catalog.load("orders") == [1, 2]


def test_a_cache_that_cannot_be_written_stops_nothing(governed, monkeypatch):
    place = governed.write("not-a-directory", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert governed.context().catalog.load("orders") == [1, 2]


@pytest.mark.parametrize(
    "answer", ["<html>welcome</html>", "[]", "{}", '{"catalog": [], "actions": {}}', '{"catalog": {}, "actions": 7}']
)
def test_an_answer_that_is_not_a_lease_is_refused_in_words(governed, service, answer):
    service.instead["/v1/leases"] = (200, "application/json", answer)
    with pytest.raises(Exception, match=r"not as Muniment does|does not understand"):
        governed.context()


def test_redirects_are_not_followed_with_the_token(governed, service):
    service.instead["/v1/leases"] = (302, "text/html", "")
    with pytest.raises(Exception, match=r"answered 302, and not as Muniment does"):
        governed.context()
    assert len(service.asked) == 1


def test_credentials_that_the_project_lacks_stop_only_the_dataset_that_needs_them(governed, service):
    service.serve("sales.far", {**governed.json_at("far", [1]), "credentials": "lake_keys"}, "load")
    catalog = governed.context().catalog
    assert catalog.load("orders") == [1, 2]
    with pytest.raises(DatasetError, match=r"needs the credentials 'lake_keys', which this project does not define"):
        catalog.load("sales.far")
    assert "lake_keys" not in json.dumps(list(catalog.keys()))


def test_the_hooks_and_the_commands_load_nothing_of_signing_in(project):
    ran = project.python(
        """
        import sys
        import kedro_muniment, kedro_muniment.hooks, kedro_muniment.command_line.commands
        late = (
            "authlib", "cryptography", "httpx", "keyring", "kedro_muniment.leases.kept",
            "kedro_muniment.leases.lease", "IPython", "webbrowser", "http.server",
            "kedro_muniment.sign_in.browser", "kedro_muniment.sign_in.device", "kedro_muniment.sign_in.jobs",
            "kedro_muniment.sign_in.keeping", "kedro_muniment.sign_in.people",
            "kedro_muniment.sign_in.providers", "kedro_muniment.sign_in.renewing",
            "kedro_muniment.sign_in.signing_in", "kedro_muniment.sign_in.telling",
        )
        print("LOADED", [name for name in late if name in sys.modules])
        """
    )
    assert "LOADED []" in ran.stdout, ran.stdout + ran.stderr
