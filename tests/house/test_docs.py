"""The documentation is true: it names all there is, nothing that is not, and what it shows works.

Tables and headings of the reference are compared with the code in both directions, so that neither
a new setting nor a page about one that is gone can stay. Every fenced block is read by whatever
reads such a text in earnest, and the tutorial is carried out, line by line, against a real service.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import httpx
import psycopg
import pytest
import yaml
from fastapi.routing import APIRoute
from packaging.requirements import Requirement
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import make_url

import kedro_muniment.config
import kedro_muniment.entries.definitions
import kedro_muniment.entries.refused
import kedro_muniment.leases.recorded
import kedro_muniment.problems
import kedro_muniment.sign_in.jobs
from kedro_muniment.command_line.commands import muniment as client_commands
from kedro_muniment.sign_in.tokens import Token
from muniment.api import grants as grants_door
from muniment.api import policies as policies_door
from muniment.api.grants import GrantBody
from muniment.api.policies import PolicyBody
from muniment.api.problems import STATUS, name_of
from muniment.app import create_app
from muniment.cli import main as service_commands
from muniment.core import (
    cases,
    dataset_types,
    definitions,
    deputies,
    locations,
    moments,
    notices,
    policies,
    problems,
    requests,
    row_filters,
)
from muniment.core.cases import cases_of
from muniment.core.dataset_types import KnownTypes
from muniment.core.files import read_files
from muniment.core.ledger import Event, Row
from muniment.core.limits import Rates
from muniment.core.lint import Doubt
from muniment.core.locations import parse_location
from muniment.core.masks import MaskAction
from muniment.core.names import checked_dataset
from muniment.core.projects import conf as projects
from muniment.core.row_filters import read_row_filter
from muniment.core.schema import Action, schema_text
from muniment.core.starters.offers import shelf
from muniment.core.starters.rendering import check_templates
from muniment.identity.issuers import Introspection, Issuer, issuers_from
from muniment.post.mail import MailServer
from muniment.settings import Settings, read
from muniment.store import embedded
from muniment.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "service" / "README.md", *DOCS.rglob("*.md")])
TUTORIAL = DOCS / "tutorial" / "first-governed-project.md"

#: The attributes and environments of the deployment that the examples imagine.
ATTRIBUTES = {"clearance": "long"}
ENVIRONMENTS = ("dev", "prod")

#: Languages of fenced blocks; each has a reader in :func:`test_every_example_is_read_by_what_reads_it_in_earnest`.
LANGUAGES = {"bash", "cedar", "console", "ini", "json", "python", "sql", "text", "toml", "yaml"}
#: Files of platforms that run jobs, which set variables for the client.
PIPELINES = {".github/workflows/definitions.yml", ".github/workflows/nightly.yml", ".gitlab-ci.yml", "cronjob.yaml"}
#: The service's settings, as the environment names them.
SETTINGS = {f"MUNIMENT_{name.upper()}" for name in Settings.model_fields}
#: Programs in examples that are not ours to check.
OTHERS = {"curl", "docker", "export", "pip", "zensical"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its title and its text."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(block for page in PAGES for block in _blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        opening = re.fullmatch(r"```(\S*)(?: title=\"([^\"]*)\")?", line)
        if opening is None:
            assert not line.lstrip().startswith("```"), f'{page}:{number}: a fence is ```language title="…"'
            continue
        inside = []
        for _, held in lines:
            if held == "```":
                break
            inside.append(held)
        yield Block(page, number, opening[1], opening[2] or "", "\n".join(inside) + "\n")


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}(?: \{{[^}}]*\}})?$", text(page), re.MULTILINE)
    assert found, f"{page} has no heading {heading!r}"
    following = re.compile(rf"^#{{1,{len(found[1])}}} ", re.MULTILINE).search(text(page), found.end())
    return text(page)[found.end() : following.start() if following else None]


def rows(table: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, without heads and rules."""
    lines = [*table.splitlines(), ""]
    rules = {number for number, line in enumerate(lines) if line.startswith("| -")}
    heads = {number - 1 for number in rules}
    listed = [line for number, line in enumerate(lines) if line.startswith("|") and number not in rules | heads]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in listed]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", cell)


def named(table: str) -> list[str]:
    """What the first cells of a table name."""
    return [name for row in rows(table) for name in words(row[0])]


# --- settings -----------------------------------------------------------------------------------


def test_the_reference_lists_every_setting_with_its_default():
    listed = {words(row[0])[0]: row[1] for row in rows(text("reference/settings.md").partition("## Issuers")[0])}
    assert set(listed) == SETTINGS
    told = {name: words(cell)[0] for name, cell in listed.items() if words(cell)}
    assert {name: _default(name) for name in told} == told
    assert all(_default(name) in {"null", "[]"} for name, cell in listed.items() if cell == "none")


def _default(setting: str) -> str:
    value = Settings.model_fields[setting.removeprefix("MUNIMENT_").lower()].get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = {name: int(hours) for name, hours in value.model_dump().items()}
    if isinstance(value, Rates):
        value = {each.name: str(getattr(value, each.name)) for each in fields(Rates)}
    return value if isinstance(value, str) else json.dumps(value)


def test_the_reference_lists_every_field_of_an_issuer():
    listed = {words(row[0])[0]: row[1] for row in rows(section("reference/settings.md", "Issuers"))}
    assert set(listed) == {field.name for field in fields(Issuer)}
    (issuer,) = issuers_from([{"name": "n", "issuer": "https://n.example", "audience": "a", "default": True}])
    told = {name: json.loads(words(cell)[0]) for name, cell in listed.items() if words(cell) and name != "default"}
    assert {name: getattr(issuer, name) for name in told if name != "attributes"} == {
        name: value for name, value in told.items() if name != "attributes"
    }


def test_the_reference_lists_every_field_of_the_mail_server():
    listed = {words(row[0])[0] for row in rows(section("reference/settings.md", "Mail"))}
    assert listed == {field.alias or name for name, field in MailServer.model_fields.items()}


def test_the_reference_lists_every_kind_of_notice_with_how_soon_it_goes():
    told = {words(row[0])[0]: row[3] for row in rows(section("reference/routes.md", "Notices").partition("### ")[0])}
    paces = {"at_once": "at once", "daily": "once a day"}
    assert told == {kind.value: paces[notices.Choice().pace(kind)] for kind in notices.NoticeKind}


def test_the_reference_lists_every_field_of_introspection():
    listed = {words(row[0])[0]: row[1] for row in rows(section("reference/settings.md", "Introspection"))}
    assert set(listed) == {field.name for field in fields(Introspection)}
    plain = Introspection("muniment-api", "secret")
    told = {name: json.loads(words(cell)[0]) for name, cell in listed.items() if words(cell)}
    found = {name: getattr(plain, name) for name in told}
    assert {**found, "clients": list(found["clients"])} == told


def test_the_reference_lists_every_key_and_variable_of_the_client():
    assert named(section("reference/client.md", "`muniment.yml`")) == _ordered(
        kedro_muniment.config.KEYS, named(section("reference/client.md", "`muniment.yml`"))
    )
    read_by_client = {
        name
        for file in (ROOT / "client" / "kedro_muniment").rglob("*.py")
        for name in re.findall(r"environ\.get\(\"(MUNIMENT_\w+)\"", file.read_text(encoding="utf-8"))
    }
    assert set(named(section("reference/client.md", "Environment variables"))) == read_by_client
    for precedence in kedro_muniment.config.PRECEDENCES:
        assert f"`{precedence}`" in section("reference/client.md", "`muniment.yml`")


def _ordered(expected: Mapping[str, Any] | set[str], like: list[str]) -> list[str]:
    """The expected names in the order of a list that should hold each of them once; what it lacks comes last."""
    return sorted(expected, key=lambda name: like.index(name) if name in like else len(like))


# --- commands -----------------------------------------------------------------------------------


def commands_of(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


ALL_COMMANDS = dict([*commands_of(service_commands, "muniment"), *commands_of(client_commands, "kedro muniment")])


def test_the_reference_has_a_heading_for_every_command_and_no_other():
    told = re.findall(r"^### `((?:kedro )?muniment [^`]+)`$", text("reference/commands.md"), re.MULTILINE)
    assert sorted(told) == sorted(ALL_COMMANDS)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_the_reference_names_every_option_and_argument_of_a_command(name):
    told = section("reference/commands.md", f"`{name}`")
    for parameter in ALL_COMMANDS[name].params:
        argument = isinstance(parameter, click.Argument)
        spelled = [str(parameter.name).upper()] if argument else parameter.opts
        assert all(f"`{option}`" in told or f" {option}`" in told for option in spelled), (name, spelled)
    known = {option for parameter in ALL_COMMANDS[name].params for option in parameter.opts}
    assert {option for option in words(told) if option.startswith("-")} <= known


def test_the_reference_lists_every_verb_of_dev():
    assert named(section("reference/commands.md", "`./dev`")) == [f"./dev {verb}" for verb in _verbs()]


def test_the_reference_names_every_option_of_the_demonstration():
    (row,) = [row for row in rows(section("reference/commands.md", "`./dev`")) if words(row[0]) == ["./dev demo"]]
    options = re.findall(r'"(--[\w-]+)"', (ROOT / "demo" / "__main__.py").read_text(encoding="utf-8"))
    assert {word for word in words(row[1]) if word.startswith("--")} == set(options)


@cache
def _verbs() -> tuple[str, ...]:
    loader = SourceFileLoader("dev_as_documented", str(ROOT / "dev"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return tuple(module.VERBS)


# --- problems, events, exit codes ---------------------------------------------------------------


def descendants(kind: type) -> set[type]:
    return {below for child in kind.__subclasses__() for below in (child, *descendants(child))}


def test_the_reference_lists_every_problem_with_its_status_and_title():
    ours = {kind for kind in descendants(problems.Problem) if kind.__module__ == problems.__name__}
    told = rows(text("reference/problems.md"))
    travelling = {(words(row[0])[0], int(row[1]), row[2]) for row in told if len(row) == 4}
    starting = {(words(row[0])[0], row[1]) for row in told if len(row) == 3}
    assert travelling == {(name_of(kind), STATUS[kind], kind.title) for kind in STATUS}
    assert starting == {(name_of(kind), kind.title) for kind in ours - STATUS.keys()}
    assert {kind.__name__ for kind in ours - STATUS.keys()} == {"CannotStart", "SchemaTooOld", "SchemaTooNew"}


def test_the_reference_lists_every_event_and_every_field_of_a_row():
    assert named(section("reference/ledger.md", "Events")) == [event.value for event in Event]
    assert sorted(named(section("reference/ledger.md", "A row"))) == sorted(field.name for field in fields(Row))


def test_the_reference_lists_every_exit_code_of_the_client():
    for module in pkgutil.walk_packages(kedro_muniment.__path__, "kedro_muniment."):
        importlib.import_module(module.name)
    base = kedro_muniment.problems.MunimentError
    raised = {(kind.__name__, kind.exit_code) for kind in descendants(base)}
    told = rows(section("reference/client.md", "Exit codes"))
    assert {(name, int(row[0])) for row in told for name in words(row[1])} == raised
    assert sorted(int(row[0]) for row in told) == sorted({0, click.UsageError.exit_code, *(code for _, code in raised)})


# --- routes -------------------------------------------------------------------------------------


@cache
def _app() -> Any:
    return create_app(Settings(), "postgresql+psycopg://nowhere")


@cache
def _routes() -> dict[str, Any]:
    """Every route that is served, by ``METHOD /address``; those that FastAPI itself adds too."""
    found: dict[str, Any] = {}
    for route in _flat(_app().routes):
        if route.path.startswith("/scim/{issuer}/"):  # The doors of /scim/v2, for the directory of another issuer.
            continue
        for method in route.methods - {"HEAD"}:
            found[f"{method} {route.path}"] = route
    return found


def _flat(given: Any) -> Iterator[Any]:
    """The routes, those of included routers among them, however this FastAPI keeps them."""
    for route in given:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _flat(inner.routes)
        elif getattr(route, "methods", None):
            yield route


def test_the_reference_has_a_heading_for_every_route_and_no_other():
    told = re.findall(r"^### `([A-Z]+ [^`]+)`$", text("reference/routes.md"), re.MULTILINE)
    described = {
        f"{method.upper()} {path}" for path, methods in _app().openapi()["paths"].items() for method in methods
    }
    assert described <= set(_routes())
    assert sorted(told) == sorted(_routes())


def test_the_reference_tells_which_routes_need_no_token():
    (sentence,) = re.findall(r"Only\s+(.*?)\s+need\s+none\.", text("reference/routes.md"), re.DOTALL)
    described = _app().openapi()["paths"]
    guarded = {path for path, methods in described.items() if all("security" in each for each in methods.values())}
    assert set(words(sentence)) == {path for name in _routes() for path in [name.partition(" ")[2]]} - guarded


def test_the_reference_names_every_parameter_and_field_of_a_route():
    missing = []
    for path, methods in _app().openapi()["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            told = set(words(section("reference/routes.md", f"`{name}`")))
            asked = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
            untold = (asked | set(_body_fields(name))) - told
            missing.extend(f"{name}: {field}" for field in sorted(untold))
    assert not missing


def _body_fields(name: str) -> list[str]:
    model = _body_model(name)
    return list(model.model_fields) if model else []


def _body_model(name: str) -> type[BaseModel] | None:
    route = _routes()[name]
    field = route.body_field if isinstance(route, APIRoute) else None
    return None if field is None else field.field_info.annotation


def test_the_reference_tells_every_field_of_the_simple_form_and_of_a_grant():
    form = section("reference/policies.md", "The simple form")
    assert set(named(form)) == set(PolicyBody.model_fields["form"].annotation.__args__[0].model_fields)
    inner = PolicyBody.model_fields["form"].annotation.__args__[0].model_fields
    for field in ("principals", "resources"):
        assert all(re.search(rf"\b{name}\b", form) for name in inner[field].annotation.model_fields)
    assert set(named(section("reference/policies.md", "Grants"))) == set(GrantBody.model_fields)
    assert named(section("reference/policies.md", "Actions")) == [action.value for action in Action]


def test_the_reference_shows_the_schema_that_policies_are_validated_against():
    (shown,) = [block for block in blocks() if block.title == "the schema"]
    assert shown.text == schema_text({})


# --- definitions --------------------------------------------------------------------------------


def test_the_reference_gives_the_limits_of_a_definition():
    told = section("reference/definitions.md", "Limits")
    limits = {row[0]: row[1] for row in rows(told)}
    assert limits["depth"] == str(definitions.DEEPEST)
    assert limits["values"] == f"{definitions.MOST_NODES:,}"
    assert limits["canonical JSON"] == f"{definitions.MOST_BYTES // 1024} KiB"
    paths = section("reference/definitions.md", "Paths")
    assert {name for name in named(paths) if "/" not in name} == {*locations._AUTHORITIES, locations.PROJECT}
    assert all(f"`{name}`" in text("reference/definitions.md") for name in definitions._FS_ARGS)
    assert f"kedro-datasets {KnownTypes.newest().version}" in text("reference/definitions.md")


def test_the_reference_names_every_format_that_runs_code():
    service = section("reference/definitions.md", "Types and arguments")
    assert set(dataset_types.RUNS_CODE) <= set(words(service))
    client = section("reference/client.md", "What may be built")
    assert set(named(client)) == set(kedro_muniment.entries.definitions.CODE_FORMATS)


def test_the_reference_lists_every_reason_why_an_entry_is_not_imported():
    told = {words(row[0])[0]: row[1] for row in rows(section("reference/import.md", "Reasons"))}
    assert told == {reason.value: words_of for reason, words_of in projects.REASONS.items()}


def test_the_reference_gives_the_limits_of_a_policy():
    told = section("reference/policies.md", "A policy's own rules")
    for limit in (f"{policies.LONGEST_TEXT:,}", str(policies.DEEPEST_TEXT), str(moments.EARLIEST.year)):
        assert limit in told


def test_the_reference_tells_every_field_of_a_case_and_every_doubt():
    told = section("reference/policies.md", "Cases")
    assert set(named(told)) == cases.FIELDS
    assert f"up to {cases.MOST_CASES} cases" in told
    assert named(section("reference/policies.md", "Lint")) == [doubt.value for doubt in Doubt]


def test_the_reference_tells_every_mask_the_strictest_first_and_every_operator_and_limit_of_a_filter():
    told = section("reference/policies.md", "Masks and row filters")
    assert named(told) == [action.value for action in MaskAction]
    assert {f"`{operator}`" for operator in row_filters.OPERATORS} <= {f"`{word}`" for word in words(told)}
    assert f"{row_filters.DEEPEST} deep" in told
    assert f"{row_filters.MOST_PARTS:,} parts" in told


def test_the_reference_gives_the_limits_of_a_request():
    limits = {row[0]: row[1] for row in rows(section("reference/routes.md", "Requests for access"))}
    assert limits["datasets in a request"] == str(requests.MOST_DATASETS)
    assert limits["for how long access can be asked for"] == f"{requests.LONGEST.days} days"
    assert limits["undecided requests of one subject"] == str(requests.MOST_UNDECIDED)
    assert f"every {requests.ESCALATES_AFTER.days} days" in "".join(limits.values())
    assert limits["for how long a deputy can be named"] == f"{deputies.LONGEST.days} days"
    assert f"after {requests.EXPIRES_AFTER.days} days" in limits["an undecided request expires"]


# --- decisions, links, the site -----------------------------------------------------------------


def test_every_dependency_has_its_reason_on_a_decision_page():
    decided = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "decisions").glob("[0-9]*.md"))
    told = {word.lower() for word in words(decided)}
    listed = [
        *tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"],
        *_dependencies("service"),
        *_dependencies("client"),
    ]
    assert not {Requirement(each).name.lower() for each in listed} - told


def _dependencies(project: str) -> list[str]:
    told = tomllib.loads((ROOT / project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = told.get("optional-dependencies", {}).values()
    return [*told["dependencies"], *(each for extra in extras for each in extra)]


def test_decision_pages_are_numbered_without_a_gap_and_have_the_four_parts():
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        parts = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "What else was weighed"], page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_leads_somewhere(page):
    outside_code = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}; there are {sorted(anchors(file))}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site's builder and GitHub make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        named_so = re.search(r" \{ #([\w-]+) \}$", heading)
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(named_so[1] if named_so else re.sub(r"[\s-]+", "-", plain))
    return found


def test_every_page_stands_in_the_sites_navigation():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def leaves(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        else:
            for inner in node.values() if isinstance(node, dict) else node:
                yield from leaves(inner)

    assert sorted(leaves(site["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_first_page_leads_to_every_page_and_the_decisions_first_page_to_every_decision():
    """Seen to fail with a new how-to that only the site's navigation knew."""
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    decisions = {page for page in pages if re.match(r"decisions/\d", page)}
    assert set(re.findall(r"\]\(([\w/-]+\.md)\)", text("index.md"))) == pages - decisions - {"index.md"}
    led = re.findall(r"^\| \[(\d{4})\]\((\1-[\w-]+\.md)\) \|", text("decisions/index.md"), re.MULTILINE)
    assert [f"decisions/{page}" for _, page in led] == sorted(decisions)


# --- examples -----------------------------------------------------------------------------------


def test_every_fenced_block_names_a_language_that_something_here_reads():
    assert {block.language for block in blocks()} <= LANGUAGES


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_every_example_is_read_by_what_reads_it_in_earnest(block, tmp_path, request):
    match block.language:
        case "python":
            ast.parse(block.text)
        case "toml":
            assert _settings_of(block, tmp_path).issuers
        case "cedar":
            if block.title != "the schema":
                _check_policy(block.text)
        case "json" | "yaml":
            _check_data(block, tmp_path)
        case "console" | "bash":
            _check_shell(block)
        case "ini" | "sql":
            _check_in_postgres(block, request.getfixturevalue("postgres"))
        case "text":
            assert block.text.strip()


def _settings_of(block: Block, tmp_path: Path) -> Settings:
    file = tmp_path / "muniment.toml"
    file.write_text(block.text, encoding="utf-8")
    return read({"MUNIMENT_CONFIG": str(file)})


def _check_in_postgres(block: Block, server: EmbeddedPostgres) -> None:
    """Done in earnest and undone; of its settings, that there are such."""
    looked_after = make_url(server.url).set(drivername="postgresql", username="postgres", database="postgres")
    with psycopg.connect(looked_after.render_as_string(hide_password=False)) as connection:
        if block.language == "sql":
            connection.execute(f"ALTER ROLE {embedded.SERVICE} RENAME TO of_these_tests")  # the page makes it
            connection.execute(block.text)
        else:
            known = {name for (name,) in connection.execute("SELECT name FROM pg_settings")}
            assert {line.partition(" = ")[0] for line in block.text.splitlines()} <= known
        connection.rollback()


def _check_policy(cedar: str, scope: str = "all") -> None:
    _check(policies.Policy("example", cedar, scope))


def _check(policy: policies.Policy) -> None:
    policies.checked(policy, schema=schema_text(ATTRIBUTES), environments=ENVIRONMENTS)


def _check_data(block: Block, tmp_path: Path) -> None:
    data = json.loads(block.text) if block.language == "json" else yaml.safe_load(block.text)
    method, _, address = block.title.partition(" ")
    if method in {"PUT", "POST"}:
        _check_body(f"{method} {_template(method, address)}", address.rpartition("/")[2], block)
    elif block.title.endswith("muniment.yml"):
        assert _client_config(block.title, data, tmp_path)
    elif block.title in {"tests/catalog.yml", "1/starters.yml"}:
        _check_file(block, tmp_path)
    elif block.page.stem == "keep-definitions-in-git" and block.title not in PIPELINES:
        assert read_files({block.title: block.text}, KnownTypes.newest()).things
    elif block.title in SETTINGS:
        read({block.title: block.text})
    elif block.title == "read restrictions":
        assert {MaskAction(each["action"]) for each in data["required-column-projections"]}
        assert read_row_filter(data["required-row-filter"]) == data["required-row-filter"]
    elif block.title in PIPELINES:
        # What a job's environment says must be one whole credential, as the client reads it.
        named = {variable: Token(value) for variable, value in _variables_in(data) if variable != "MUNIMENT_URL"}
        assert kedro_muniment.sign_in.jobs.credential_in(named, "https://muniment.example.org")
    elif block.title == "a message":
        assert data["data"]["event"] == Event(data["type"])
    elif block.title == "a problem":
        assert STATUS[next(k for k in STATUS if data["type"] == f"/problems/{name_of(k)}")] == data["status"]
    else:
        assert block.page == TUTORIAL, f"{block.place}: its title says neither an address nor a file that is known"


def _check_file(block: Block, tmp_path: Path) -> None:
    """A file under its own name: the client's recorded catalog, the platform team's manifest."""
    file = tmp_path / block.title
    file.parent.mkdir()
    file.write_text(block.text, encoding="utf-8")
    if file.name == "catalog.yml":
        assert kedro_muniment.leases.recorded.read(file, tmp_path).catalog
    else:
        check_templates(shelf(tmp_path).newest)


def _variables_in(node: Any) -> Iterator[tuple[str, str]]:
    """Our variables in a pipeline's file: members of those names, and ``{name: …, value: …}``."""
    if isinstance(node, Mapping):
        if str(node.get("name")).startswith("MUNIMENT_"):
            yield node["name"], node["value"]
        yield from ((name, str(held)) for name, held in node.items() if str(name).startswith("MUNIMENT_"))
    if isinstance(node, Mapping | list):
        for inner in node.values() if isinstance(node, Mapping) else node:
            yield from _variables_in(inner)


def _template(method: str, address: str) -> str:
    """The route that an address leads to."""
    path = address.partition("?")[0]
    matching = [
        name for name, route in _routes().items() if name.startswith(f"{method} ") and route.path_regex.fullmatch(path)
    ]
    assert matching, f"no route takes {method} {path}"
    return matching[0].partition(" ")[2]


def _check_body(route: str, name: str, block: Block) -> None:
    # A YAML body becomes the JSON that it means, with dates as the texts that they are.
    given = json.dumps(yaml.safe_load(block.text), default=str) if block.language == "yaml" else block.text
    body = TypeAdapter(_body_model(route)).validate_json(given)
    match route:
        case "PUT /v1/policies/{id}":
            proposed = policies_door.proposed(name, body)
            _check(proposed)
            assert len(cases_of(proposed)) == len(body.cases)
        case "PUT /v1/grants/{id}":
            _check_policy(grants_door.proposed(name, body).policy().cedar)
        case "PUT /v1/datasets/{name}":
            _check_definitions(checked_dataset(name), body.environments)


def _check_definitions(name: str, environments: Mapping[str, Any]) -> None:
    """As the service would in the domains that the examples make."""
    allowed = [
        parse_location(location)
        for block in blocks()
        if block.title.startswith("PUT /v1/domains/")
        for location in json.loads(block.text)["locations"]
    ]
    for definition in environments.values():
        faults = definitions.check(definition, name=name, types=KnownTypes.newest(), locations=allowed)
        assert not faults


def _client_config(title: str, data: Mapping[str, Any], tmp_path: Path) -> Any:
    """Read as the client reads it, with the base that a file of another environment stands on."""
    environment = Path(title).parts[-2]
    folder = tmp_path / environment
    folder.mkdir()
    (folder / "muniment.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    if environment != "base":
        (tmp_path / "base").mkdir()
        (tmp_path / "base" / "muniment.yml").write_text("url: https://muniment.example.org\n", encoding="utf-8")
    loader = SimpleNamespace(conf_source=str(tmp_path), env=environment, base_env="base", default_run_env="local")
    return kedro_muniment.config.read(loader)


def _check_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    begun = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            said = shlex.split(begun + line, comments=True)
        except ValueError:  # a text in quotes that goes on in the next line
            begun += f"{line}\n"
            continue
        begun = ""
        if said:
            _check_command(said, block)
    assert not begun, f"{block.place}: {begun}"


def _check_command(said: list[str], block: Block) -> None:
    match said:
        case ["./dev", verb, *_]:
            assert verb in _verbs()
        case ["muniment", *rest]:
            _parsed(service_commands, rest)
        case ["kedro", "muniment", *rest]:
            _parsed(client_commands, rest)
        case ["curl", *rest] if block.language == "console":
            _check_curl(rest)
        case ["export", given] if given.partition("=")[0] in SETTINGS:
            read(dict([given.partition("=")[::2]]))
        case [program, *_]:
            assert block.language == "bash" or program in OTHERS | {"kedro"}, f"{block.place}: {program}"


def _parsed(group: click.Group, arguments: list[str]) -> None:
    """Refused by click itself when a command or an option does not exist."""
    context = group.make_context(group.name, list(arguments), resilient_parsing=False)
    command: click.Command = group
    left = [*context._protected_args, *context.args]
    while isinstance(command, click.Group):
        _, command, left = command.resolve_command(context, left)
        context = command.make_context(command.name, left, parent=context)
        left = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []


def _check_curl(arguments: list[str]) -> None:
    (url,) = [each for each in arguments if each.startswith("$MUNIMENT_URL/")]
    method = arguments[arguments.index("--request") + 1] if "--request" in arguments else "GET"
    path, _, query = url.removeprefix("$MUNIMENT_URL").partition("?")
    route = _routes()[f"{method} {_template(method, path)}"]
    known = {name for parameter in route.dependant.query_params for name in _names_of(parameter)}
    assert {pair.partition("=")[0] for pair in filter(None, query.split("&"))} <= known
    if method in {"PUT", "DELETE"}:
        assert any(each.startswith(("If-Match:", "If-None-Match:")) for each in arguments)


def _names_of(parameter: Any) -> list[str]:
    """The parameter's own name; of several that a body describes together, theirs."""
    together = parameter.field_info.annotation
    is_body = isinstance(together, type) and issubclass(together, BaseModel)
    return list(together.model_fields) if is_body else [parameter.alias]


# --- the tutorial, carried out ------------------------------------------------------------------


#: What the tutorial installs, as it stands in this checkout and this environment; nothing is fetched.
INSTALLED = """
echo {packages} > "$(echo {venv}/lib/python*/site-packages)/of_these_tests.pth"
uv pip install --quiet --offline --no-cache --no-deps --no-build-isolation --python {venv}/bin/python ./service ./client
printf '#!{venv}/bin/python\\nfrom kedro.framework.cli import main\\nmain()\\n' > {venv}/bin/kedro
chmod +x {venv}/bin/kedro
"""
#: What goes on running, and the address at which it answers then.
SERVERS = {"demo.issuer": "http://127.0.0.1:9000/jwks", "muniment serve": "http://127.0.0.1:8420/readyz"}


@pytest.mark.skipif(os.name == "nt", reason="the tutorial is written for a POSIX shell")
def test_the_tutorial_does_what_it_says():
    with _place() as place, ExitStack() as opened:
        tutorial = _Tutorial(place, dict(zip(("8420", "9000"), map(str, _free_ports(2)), strict=True)))
        terminals: dict[str, _Terminal] = {}
        said, shown = "", False
        for block in (block for block in blocks() if block.page == TUTORIAL):
            if block.language == "text":
                told, shown = " ".join(said.split()), True
                for line in tutorial.here(block.text).splitlines():
                    assert " ".join(line.split()) in told, f"{block.place}: {line!r} is not in\n{said}"
            elif block.language == "bash":
                name = block.title.removesuffix(" fails")
                if name not in terminals:
                    terminals[name] = opened.enter_context(_Terminal.opened(name, tutorial))
                # Two blocks that follow one another show two parts of one output.
                said = ("" if shown else said) + terminals[name].carried_out(block)
                shown = False
            else:
                tutorial.write(block)


@dataclass(frozen=True)
class _Tutorial:
    """The tutorial in a place and on ports of our own."""

    place: Path
    ports: Mapping[str, str]

    def here(self, written: str) -> str:
        venv = self.place / "venv"
        installed = INSTALLED.format(venv=venv, packages=sysconfig.get_path("purelib"))
        moved = written.replace("/tmp/muniment-first", str(self.place))
        moved = moved.replace("python3 -m venv", f"{sys.executable} -m venv --without-pip")
        moved = re.sub(r"^pip install .*$", lambda _: installed, moved, flags=re.MULTILINE)
        return re.sub(r"(?<=127\.0\.0\.1:)(8420|9000)|(?<=--port )9000", lambda found: self.ports[found[0]], moved)

    def write(self, block: Block) -> None:
        """A file where a folder for it is: beside the project, or in it."""
        places = [folder / block.title for folder in (self.place / "revenue", self.place)]
        file = next(each for each in places if each.parent.is_dir())
        file.write_text(self.here(block.text), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        left = {name: value for name, value in os.environ.items() if not name.startswith(("MUNIMENT_", "XDG_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), left["PATH"]])
        ours = {"MUNIMENT_PORT": self.ports["8420"], "COLUMNS": "300", "PATH": path, "TMPDIR": str(self.place)}
        return {**left, **ours, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "DO_NOT_TRACK": "1"}


class _Terminal:
    """A shell that stays open, and the person in front of it: whoever the title of its blocks names."""

    def __init__(self, name: str, tutorial: _Tutorial, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name = name
        self._tutorial = tutorial
        self._process = process
        self._log = log
        self._read = 0
        self._answered: set[str] = set()

    @classmethod
    @contextmanager
    def opened(cls, name: str, tutorial: _Tutorial) -> Iterator[_Terminal]:
        log = tutorial.place / f"{name}.log"
        with log.open("wb") as told:
            process = subprocess.Popen(
                ["bash"],
                cwd=ROOT,
                env=tutorial.environment(),
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield cls(name, tutorial, process, log)
        finally:
            process.stdin.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def carried_out(self, block: Block) -> str:
        """What is said while it happens; a server has begun to answer then, and everything else has ended."""
        text = self._tutorial.here(block.text)
        if block.title.endswith(" fails"):
            text = f"if ( {text.strip()} ); then exit 9; fi\n"
        address = next((address for program, address in SERVERS.items() if program in text), None)
        self._type(f"set -e\n{text}set +e\necho ==done==\n")
        return self._until(self._tutorial.here(address) if address else None, block)

    def _type(self, text: str) -> None:
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def _until(self, address: str | None, block: Block) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            said = self._log.read_text(encoding="utf-8", errors="replace")[self._read :]
            if _answers(address) if address else "==done==\n" in said:
                said = self._log.read_text(encoding="utf-8", errors="replace")[self._read :]
                self._read += len(said)
                return said
            self._sign_in(said)
            time.sleep(0.05)
        pytest.fail(f"{block.place}:\n{self._log.read_text(encoding='utf-8', errors='replace')[self._read :]}")

    def _sign_in(self, said: str) -> None:
        """Follow each link that is shown, and say who this is: what a person does in a browser."""
        for link, code in re.findall(r"(http://127\.0\.0\.1:\d+/device)\?user_code=([A-Z-]+)", said):
            if code not in self._answered:
                self._answered.add(code)
                answer = httpx.post(link, data={"user_code": code, "subject": self._name.lower()}, trust_env=False)
                assert answer.is_success, answer.text


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _place() -> Iterator[Path]:
    """A directory that ``nobody`` may enter, too: as root, the embedded server runs as nobody."""
    path = Path(tempfile.mkdtemp(prefix="muniment-tutorial-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
