"""Real Kedro projects, and a small server that speaks the wire contract of Muniment's service on loopback.

The server decides nothing cleverly: it serves the catalog, actions and knowledge that a test gives it. That the
real service speaks the same contract is proved in ``tests/e2e``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import parse_qs, urlsplit

import keyring
import pytest
import yaml
from joserfc import jws
from joserfc.jwk import OKPKey
from keyring.backends import null

UNKNOWN = "does not exist, or you may not know of it"
SIGNATURE = "never-to-be-seen-signature"
#: A factory pattern that the service may hold. Whatever else holds a brace it serves as it is, as no service should.
PATTERN = re.compile(r"[a-z.]+\.[a-z_]*\{[a-z]+\}[a-z_]*\Z")
#: What anybody may ask, and a start does when it knows no keys yet; it is not counted among what was asked.
PUBLIC = frozenset({"/.well-known/muniment", "/v1/leases/keys"})
numbers = count(1)


def pytest_collection_modifyitems(items):
    """Kedro warns of its own use of a deprecated function, and of dots in names; every other warning is an error.

    So does joserfc of the name by which Ed25519 was known before RFC 9864.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(r"ignore:EdDSA is deprecated via RFC 9864"))
            item.add_marker(pytest.mark.filterwarnings(r"ignore:register_new_resolver\(\) is deprecated:UserWarning"))
            item.add_marker(
                pytest.mark.filterwarnings(r"ignore:.*dataset names? .*contains? '\.' characters:UserWarning")
            )


def token_of(subject: str) -> str:
    """A JWT in shape; its last part is the secret that must appear nowhere."""
    parts = ({"alg": "none"}, {"iss": "https://id.example.org", "sub": subject})
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), SIGNATURE]
    )


@dataclass
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int = 0


@dataclass
class StandIn:
    """What the service holds for Ann, and what it was asked."""

    url: str
    catalog: dict[str, Any] = field(default_factory=dict)
    actions: dict[str, list[str]] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    obligations: dict[str, Any] = field(default_factory=dict)
    #: What is said of a dataset with every verdict on it.
    notices: dict[str, str] = field(default_factory=dict)
    subject: str = "user:ann"
    #: Hidden from Ann, whatever pattern would make them.
    denied: set[str] = field(default_factory=set)
    #: Whether patterns are served like datasets, as no service should.
    gives_patterns: bool = False
    #: Known to Ann, and not hers.
    discoverable: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    #: What was reported as used, each time that it was; such questions are not among those that were asked.
    reported: list[dict[str, Any]] = field(default_factory=list)
    #: No report with a use of these is taken.
    untaken: set[str] = field(default_factory=set)
    #: The tokens that are accepted for :attr:`subject`, beside those of Ann and Bob.
    bearers: set[str] = field(default_factory=set)
    #: The issuers as `/.well-known/muniment` describes them; the subject of each of their tokens is believed.
    issuers: list[dict[str, Any]] = field(default_factory=list)
    #: Projects by the version of their templates, the newest last: what a project is started with.
    projects: dict[str, bytes] = field(default_factory=dict)
    #: Answers in place of the usual ones: path to (status, content type, text).
    instead: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    #: What signs leases; the keys that are shown; how often they were asked for.
    key: OKPKey = field(default_factory=lambda: OKPKey.generate_key(auto_kid=True))
    shown: list[OKPKey] = field(default_factory=list)
    shows: int = 0
    hours: float = 12
    #: What a lease states in place of what is so.
    stating: dict[str, Any] = field(default_factory=dict)

    def serve(self, name: str, definition: Any, *actions: str) -> None:
        """Serve a dataset, or what a factory pattern makes of each name that is asked for."""
        self.catalog[name] = definition
        self.actions[name] = list(actions or ("load", "save"))

    @staticmethod
    def token_of(subject: str) -> str:
        return token_of(subject)

    def known_as(self, token: str) -> str | None:
        """Whom a token speaks for here."""
        if token in {token_of("ann"), token_of("bob"), *self.bearers}:
            return self.subject
        if token.count(".") != 2:
            return None
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return f"user:{claims['sub']}" if claims["iss"] in [each["issuer"] for each in self.issuers] else None

    def uses(self) -> list[tuple[str, str, str, str | None]]:
        """What was reported as done, each use once: the action, both names, and the node."""
        done = {each["id"]: each for each in self.reported if each["outcome"] == "done"}
        return sorted((each["action"], each["name"], each["dataset"], each.get("node")) for each in done.values())

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def lease(self, names: str | None) -> dict[str, Any]:
        """Everything but patterns, which are told by name alone; or only these names, those of patterns resolved."""
        if names is not None:
            found = {name: self._source(name) for name in names.split(",")}
            catalog = {name: self._filled(source, name) for name, source in found.items() if source in self.catalog}
        else:
            catalog = {n: held for n, held in self.catalog.items() if self.gives_patterns or not PATTERN.match(n)}
        held = {"obligations": self.obligations, "ends": self.ends, "notices": self.notices}
        if names is not None:
            held = {key: {name: value[name] for name in value if name in found} for key, value in held.items()}
        patterns = {} if names is not None else {n: a for n, a in self.actions.items() if PATTERN.match(n)}
        actions = {name: self._actions(name) for name in catalog}
        return {"catalog": catalog, "actions": actions, "patterns": patterns, **held}

    def signed(self, asked: Asked, subject: str, body: str) -> str:
        """The statement of a lease, by a library that is not the client's."""
        names = asked.query.get("names")
        now = int(time.time())
        stated = {
            "iss": self.url,
            "sub": subject,
            "aud": "kedro",
            "iat": now,
            "exp": now + int(self.hours * 3600),
            "environment": asked.query["environment"],
            "project": asked.query.get("project"),
            "purpose": asked.query.get("purpose"),
            **({"names": hashlib.sha256(names.encode()).hexdigest()} if names is not None else {}),
            "revision": 812,
            "receipt": "r-1",
            "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
            **self.stating,
        }
        header = {"alg": "EdDSA", "kid": self.key.kid, "typ": "muniment-lease+jwt"}
        return jws.serialize_compact(header, json.dumps(stated), self.key, algorithms=["EdDSA"])

    def key_set(self) -> dict[str, Any]:
        self.shows += 1
        return {"keys": [{**key.as_dict(private=False), "use": "sig"} for key in self.shown or [self.key]]}

    def verdict(self, dataset: str, action: str) -> dict[str, Any]:
        allowed = action in self._actions(dataset)
        known = bool(self._actions(dataset)) or dataset in self.discoverable
        told = {"dataset": dataset, "action": action, "allowed": allowed, "known": known, "because": []}
        told["notice"] = self.notices.get(dataset)
        if not known:
            return {**told, "reason": UNKNOWN, "owner": None, "explain": None, "request": None}
        explain = f"kedro muniment why {dataset} --action {action} --environment dev"
        reason = "the policy readers permits it" if allowed else "no policy permits it"
        return {**told, "reason": reason, "owner": "group:sales-stewards", "explain": explain, "request": None}

    def _actions(self, dataset: str) -> list[str]:
        return [] if dataset in self.denied else self.actions.get(self._source(dataset), [])

    def _source(self, dataset: str) -> str:
        """The name under which a dataset is served: its own, or the first pattern's that makes it."""
        from parse import parse

        made = (name for name in self.catalog if PATTERN.match(name) and parse(name, dataset))
        return dataset if dataset in self.catalog or dataset in self.denied else next(made, dataset)

    def _filled(self, source: str, name: str) -> Any:
        from parse import parse

        text = json.dumps(self.catalog[source])
        if source != name:
            for placeholder, value in parse(source, name).named.items():
                text = text.replace(f"{{{placeholder}}}", value)
        return json.loads(text)


class Handler(BaseHTTPRequestHandler):
    """The wire: what was asked is kept, and answered from the stand-in that the server belongs to."""

    @property
    def stand_in(self) -> StandIn:
        return self.server.stand_in

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        asked = Asked(self.command, parts.path, query, {k.lower(): v for k, v in self.headers.items()}, body)
        if parts.path not in PUBLIC | {"/v1/use"}:
            self.stand_in.asked.append(asked)
        asked.status, kind, text, tag = self._decided(asked)
        self.send_response(asked.status)
        told = {"Muniment-Revision": "812", "Muniment-Receipt": "r-1", "Muniment-Subject": self._subject(asked)}
        if asked.path == "/v1/leases" and asked.status in {200, 304}:
            told["Muniment-Lease"] = self._signed(asked, text)
        for name, value in {"Content-Type": kind, "ETag": tag, **told}.items():
            if value:
                self.send_header(name, value)
        content = text if isinstance(text, bytes) else text.encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _decided(self, asked: Asked) -> tuple[int, str, str | bytes, str]:
        if asked.path in self.stand_in.instead:
            return (*self.stand_in.instead[asked.path], "")
        if asked.path == "/.well-known/muniment":
            told = {"service": "muniment", "issuers": self.stand_in.issuers, "lease_issuer": self.stand_in.url}
            return 200, "application/json", json.dumps(told), ""
        if asked.path == "/v1/leases/keys":
            return 200, "application/jwk-set+json", json.dumps(self.stand_in.key_set()), ""
        if self._subject(asked) is None:
            problem = {"type": "about:blank", "title": "Token refused", "status": 401, "detail": "It has expired."}
            return 401, "application/problem+json", json.dumps(problem), ""
        if asked.path == "/v1/use" and any(use["dataset"] in self.stand_in.untaken for use in asked.body["events"]):
            problem = {"type": "about:blank", "title": "Invalid", "status": 422, "detail": "That is no dataset's name."}
            return 422, "application/problem+json", json.dumps(problem), ""
        if asked.path == "/v1/projects/new.zip":
            newest = [*self.stand_in.projects][-1]
            return 200, "application/zip", self.stand_in.projects[asked.query.get("version", newest)], ""
        if asked.path == "/v1/leases":
            text = json.dumps(self.stand_in.lease(asked.query.get("names")))
            tag = f'"{hashlib.sha256(text.encode()).hexdigest()}"'
            fresh = asked.headers.get("if-none-match") == tag
            return (304, "", "", tag) if fresh else (200, "application/json", text, tag)
        return 200, "application/json", json.dumps(self._told(asked)), ""

    def _signed(self, asked: Asked, text: str) -> str:
        """The statement of what is given, or on 304 would be."""
        body = text or json.dumps(self.stand_in.lease(asked.query.get("names")))
        subject = self._subject(asked) or ""
        return self.stand_in.signed(asked, subject.encode().decode("unicode_escape"), body)

    def _subject(self, asked: Asked) -> str | None:
        return self.stand_in.known_as(asked.headers.get("authorization", "").removeprefix("Bearer "))

    def _told(self, asked: Asked) -> dict[str, Any]:
        if asked.path == "/v1/use":
            self.stand_in.reported.extend(asked.body["events"])
            return {"recorded": len(asked.body["events"]), "repeated": 0}
        if asked.path == "/v1/preflight":
            wanted = [(name, action) for action in ("load", "save") for name in asked.body[action]]
            verdicts = [self.stand_in.verdict(name, action) for name, action in wanted]
            allowed = all(verdict["allowed"] for verdict in verdicts)
            return {"allowed": allowed, "verdicts": verdicts, "revision": 812, "receipt": "r-2"}
        if asked.path == "/v1/datasets":
            known = {*self.stand_in.catalog, *self.stand_in.discoverable}
            return {"items": [{"name": name} for name in sorted(known)], "next": None}
        if asked.path == "/v1/projects/offer":
            return {"version": [*self.stand_in.projects][-1]}
        if asked.path == "/v1/whoami":
            return {"subject": self._subject(asked), "groups": ["group:analysts"], "attributes": {}, "issuer": "corp"}
        return self.stand_in.verdict(asked.query["dataset"], asked.query["action"])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture(autouse=True, scope="session")
def _no_keyring_of_this_machine() -> None:
    """Nothing is kept in the keyring of whoever runs the tests, nor in one that a test has made for itself."""
    keyring.set_keyring(null.Keyring())


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = server.stand_in = StandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


PIPELINE = """
from pathlib import Path
from kedro.pipeline import Node, Pipeline

def take(orders):
    Path(__file__).with_name("ran").write_text("the first node ran")
    return {"lines": orders}

def report(lines):
    return {"report": lines}

def register_pipelines():
    return {"__default__": Pipeline([
        Node(take, inputs="INPUT", outputs="lines", name="take_orders"),
        Node(report, inputs="lines", outputs="OUTPUT", name="write_report"),
    ])}
"""


class Project:
    """A Kedro project on disk, small and whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.package = f"project_{next(numbers)}"
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MUNIMENT_", "KEDRO_"))},
            "DO_NOT_TRACK": "1",
            "XDG_CACHE_HOME": str(path / "cache"),
            "XDG_CONFIG_HOME": str(path / "config"),
            "XDG_STATE_HOME": str(path / "state"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "COLUMNS": "300",
            "MUNIMENT_TOKEN": token_of("ann"),
        }
        self.write(
            "pyproject.toml",
            f'[tool.kedro]\npackage_name = "{self.package}"\nproject_name = "Small"\nkedro_init_version = "1.0.0"\n',
        )
        self.write(f"src/{self.package}/__init__.py", "")
        self.write(
            f"src/{self.package}/settings.py", "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}\n"
        )
        self.write("conf/local/.gitkeep", "")
        self.write("conf/base/parameters.yml", "threshold: 1\n")
        self.write(
            "conf/base/catalog.yml", self.yaml({"lines": {"type": "json.JSONDataset", "filepath": "data/lines.json"}})
        )
        self.nodes("orders", "report")

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def nodes(self, first_input: str, last_output: str) -> None:
        text = PIPELINE.replace("INPUT", first_input).replace("OUTPUT", last_output)
        self.write(f"src/{self.package}/pipeline_registry.py", text)

    def configure(self, url: str, env: str = "base", **settings: object) -> None:
        self.write(f"conf/{env}/muniment.yml", self.yaml({"url": url, "default_environment": "dev", **settings}))

    def own(self, **entries: object) -> None:
        """Entries of the project's own catalog, beside ``lines``."""
        self.write("conf/base/catalog_more.yml", self.yaml(entries))

    @staticmethod
    def yaml(value: object) -> str:
        return yaml.safe_dump(value)

    def json_at(self, name: str, data: object = None) -> dict[str, str]:
        """A definition of a JSON dataset outside the project, which exists if data is given."""
        file = self.path.parent / "lake" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        if data is not None:
            file.write_text(json.dumps(data))
        return {"type": "json.JSONDataset", "filepath": str(file)}

    @property
    def first_node_ran(self) -> bool:
        return (self.path / "src" / self.package / "ran").exists()

    def kedro(self, *arguments: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        """Kedro as a person runs it: a process of its own in the project's directory."""
        surroundings = {key: value for key, value in {**self.env, **env}.items() if value is not None}
        return subprocess.run(
            [sys.executable, "-m", "kedro", *arguments],
            cwd=self.path, env=surroundings, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def python(self, code: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        surroundings = {key: value for key, value in {**self.env, **env}.items() if value is not None}
        return subprocess.run(
            [sys.executable, "-c", dedent(code)],
            cwd=self.path, env=surroundings, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def session(self, env: str | None = None, runtime_params: dict[str, Any] | None = None) -> Any:
        """A session in this process, as a script or a notebook has it."""
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project

        for module in [name for name in sys.modules if name.partition(".")[0] == self.package]:
            del sys.modules[module]
        bootstrap_project(self.path)
        return KedroSession.create(project_path=self.path, env=env, runtime_params=runtime_params, save_on_close=False)

    def context(self, env: str | None = None, runtime_params: dict[str, Any] | None = None) -> Any:
        return self.session(env, runtime_params).load_context()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that is not configured for Muniment, with Ann signed in."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder)
    for name in list(os.environ):
        if name.startswith(("MUNIMENT_", "KEDRO_")):
            monkeypatch.delenv(name)
    folders = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    for name in ("DO_NOT_TRACK", *folders, "PYTHON_KEYRING_BACKEND", "MUNIMENT_TOKEN"):
        monkeypatch.setenv(name, made.env[name])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return made


@pytest.fixture
def said():
    """What the plugin logs above DEBUG; Kedro replaces the root's handlers, and with them pytest's own."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(f"{record.levelname} {record.getMessage()}")

    handler = Keep(logging.INFO)
    logger = logging.getLogger("kedro_muniment")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def governed(project, service):
    """The same, configured: ``orders`` and ``report`` are ``sales.orders`` and ``sales.report``, and Ann's to use."""
    service.serve("sales.orders", project.json_at("orders", [1, 2]), "load")
    service.serve("sales.report", project.json_at("report"), "load", "save")
    project.configure(service.url, names={"orders": "sales.orders", "report": "sales.report"}, governed=["sales.*"])
    return project
