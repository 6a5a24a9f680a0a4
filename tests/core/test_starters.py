"""A project that is started: every pair of choices gives files that read, and words stay words in all of them."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import metadata
from itertools import combinations, product
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from muniment.core.dataset_types import KnownTypes
from muniment.core.problems import Invalid
from muniment.core.schema import Action
from muniment.core.starters.additions import added
from muniment.core.starters.answers import Answers, Unescaped, Wish, Words, answered, local_names
from muniment.core.starters.drawing import WITHOUT_EXTRA, drawn_of, extra_of
from muniment.core.starters.offers import Offer, Shelf, rewritten, shelf
from muniment.core.starters.rendering import File, check_templates, rendered
from muniment.core.starters.telling import differences
from tests.starters.pairs import DATASETS, URL, choices, named, pairwise, project

ROOT = Path(__file__).parents[2]
OFFER = shelf().newest
ROWS = pairwise(choices(OFFER))
ENVIRONMENTS = ["dev", "prod"]

#: What looks like a secret: assignments of long random words, keys, tokens, passwords in addresses.
SECRET = re.compile(
    r"(?i)(-----BEGIN|\bmun_[a-z0-9]|://[^/\s:@]+:[^/\s@]+@|(?:password|secret|token)\s*[:=]\s*['\"]?\w{8,})"
)


def answers(offer: Offer = OFFER, **wish: object) -> Answers:
    return answered(offer, Wish(**{"name": "Quarterly report", **wish}), ENVIRONMENTS, sys.stdlib_module_names)


def files_of(made: Answers, offer: Offer = OFFER, datasets: str = "some") -> Mapping[str, str]:
    return {file.path: file.text for file in rendered(offer, made, DATASETS[datasets], URL)}


def faults(**wish: object) -> Mapping[str, str]:
    with pytest.raises(Invalid) as refused:
        answers(**wish)
    return {fault.at: fault.message for fault in refused.value.faults}


# --- every pair ------------------------------------------------------------------------------------------------------


def test_the_rows_hold_every_pair_of_choices_and_are_few():
    offered = choices(OFFER)
    held = {pair for row in ROWS for pair in combinations(row.items(), 2)}
    assert held >= {
        ((one, here), (other, there))
        for one, other in combinations(offered, 2)
        for here, there in product(offered[one], offered[other])
    }
    assert len(ROWS) < 20


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_each_file_of_a_project_is_read_by_what_reads_it_in_earnest(row):
    made, files = project(OFFER, row)
    assert len({file.path for file in files}) == len(files)
    for file in files:
        _read(file, made)
        assert not SECRET.search(file.text), file.path
        assert file.text.endswith("\n"), file.path
        assert "\n\n\n" not in file.text.rstrip() or file.path.endswith((".py", ".rst")), file.path


def _read(file: File, made: Answers) -> None:
    match Path(file.path).suffix:
        case ".py":
            ast.parse(file.text)
        case ".json":
            json.loads(file.text)
        case ".yml":
            assert isinstance(yaml.safe_load(file.text), dict), file.path
        case ".toml":
            told = tomllib.loads(file.text)
            assert told["project"].get("description", "") == made.description
            assert told["tool"]["kedro"]["project_name"] == made.name
            assert all(Requirement(each).specifier for each in told["project"]["dependencies"])
        case ".txt":
            listed = [line for line in file.text.splitlines() if line and not line.startswith(("#", "--requirement "))]
            assert all([sign.operator for sign in Requirement(line).specifier] == ["=="] for line in listed), listed


def test_every_project_is_linted_and_formatted_by_its_own_settings(tmp_path):
    folders = []
    for number, row in enumerate(row for row in ROWS if row["tool lint"] == "yes"):
        folder = tmp_path / str(number)
        for file in project(OFFER, row)[1]:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_text(file.text)
        folders.append(str(folder))
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ruff = Path(sys.executable).with_name("ruff")
        done = subprocess.run([ruff, *command, *folders], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_pinned_is_within_what_is_allowed():
    for each in (*OFFER.packages,):
        assert Requirement(f"{each.name}{each.versions}").specifier.contains(each.pinned)


def test_the_client_that_projects_have_is_the_one_of_this_release():
    """Seen to fail when the client's version was raised alone."""
    told = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    assert OFFER.pins["kedro-muniment"] == told["project"]["version"]


def test_a_file_belongs_to_its_choice():
    everything = files_of(answers(tools=["lint", "test", "log", "docs", "data"], ci="gitlab"))
    nothing = files_of(answers(tools=[], ci="none"))
    only = everything.keys() - nothing.keys()
    assert {"tests/catalog.yml", "conf/logging.yml", "docs/conf.py", "data/01_raw/.gitkeep", ".gitlab-ci.yml"} <= only
    assert "[tool.ruff]" in everything["pyproject.toml"]
    assert "ruff" not in nothing["pyproject.toml"] + nothing["requirements-dev.txt"]


def test_the_folder_of_an_image_is_its_users_before_anything_is_put_there():
    """Else WORKDIR makes it root's, and the run that the image is for cannot write: seen so, as another user."""
    lines = files_of(answers())["Dockerfile"].splitlines()
    (made,) = [number for number, line in enumerate(lines) if "install --directory --owner=kedro" in line]
    (entered,) = [number for number, line in enumerate(lines) if line.startswith("WORKDIR ")]
    assert made < entered
    assert lines[made].rpartition(" ")[2] == lines[entered].rpartition(" ")[2]


# --- words -----------------------------------------------------------------------------------------------------------

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=300).map(str.strip)


@given(description=PRINTABLE)
def test_words_stay_words_in_every_language(description):
    """Seen to fail with the filter of a language taken from the README's line, and from that of pyproject.toml."""
    made = answers(description=description, tools=["lint", "test", "docs"])
    files = files_of(made)
    for path in ("pyproject.toml", ".muniment-project.yml", "src/quarterly_report/__init__.py", "docs/conf.py"):
        _read(File(path, files[path]), made)
    assert yaml.safe_load(files[".muniment-project.yml"])["answers"].get("description", "") == made.description
    (shown,) = re.findall(r"# Quarterly report\n\n(.*)\n\nA Kedro", files["README.md"]) or [""]
    assert re.sub(r"\\(.)", r"\1", shown) == made.description
    assert not re.search(r"(?<!\\)[<`\[]", shown)


def test_free_words_that_a_template_writes_as_they_are_are_refused():
    with pytest.raises(Unescaped):
        f"{Words('words')}"
    with pytest.raises(Invalid, match=re.escape("| json")):
        check_templates(_with(OFFER, "NOTES.md.j2", "{{ description }}"))


def test_a_template_reads_nothing_but_what_it_is_given():
    for text in (
        "{{ ''.__class__.__mro__ }}",
        "{{ nothing }}",
        "{% include '/etc/passwd' %}",
        "{{ tools.__init__ }}",
        "{% x",
    ):
        with pytest.raises(Invalid, match=r"NOTES\.md"):
            check_templates(_with(OFFER, "NOTES.md.j2", text))


def _with(offer: Offer, path: str, text: str) -> Offer:
    templates = {starter: {**held, path: text} for starter, held in offer.templates.items()}
    return Offer(**{**{name: getattr(offer, name) for name in Offer.__slots__}, "templates": templates})


# --- answers ---------------------------------------------------------------------------------------------------------

HOSTILE = (
    "", "x", "x" * 81, "<script>alert(1)</script>", "a\nb", "{{ 7 * 7 }}", "../../etc/passwd", "${PATH}", "$(id)",
    "a'; rm -rf /", 'a"b', "\u202egpj.exe", "\U0001f600 project", "a\x00b", "name: !!python/object", "%PATH%", "a\\b",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_refused_with_a_word(name):
    assert "2 to 80 letters" in faults(name=name)["name"]


@pytest.mark.parametrize("package", ["json", "kedro", "class", "pandas", "con", "Report", "a-b", "1a", "a.b", "x" * 41])
def test_a_package_that_python_would_take_for_another_is_refused(package):
    assert faults(package=package)["package"]


def test_a_name_in_another_script_asks_for_a_package():
    assert "begins with a letter" in faults(name="שלום עולם")["package"]
    assert answers(name="שלום עולם", package="hello").slug == "hello"


def test_what_is_not_offered_is_refused_by_what_is():
    told = faults(
        kedro="0.19.0", python="2.7", tools=["pyspark"], packages=["left-pad"], ci="jenkins", environment="qa"
    )
    assert told.keys() == {"kedro", "python", "tools", "packages", "ci", "environment"}
    assert "1.7.0" in told["kedro"]
    assert "Take one of" in faults(packages=["jupyterlab", "notebook"])["packages"]
    assert "without placeholders" in faults(datasets=["sales.{region}_orders"])["datasets"]
    assert "at most 50" in faults(datasets=[f"sales.d{number}" for number in range(51)])["datasets"]


def test_answers_are_told_so_that_they_give_the_same_project_again():
    made = answers(description="x", kedro="1.6.0", tools=[], packages=["polars", "notebook"], datasets=["sales.orders"])
    told = made.told(OFFER)
    assert "python" not in told
    assert answered(OFFER, Wish(**told), ENVIRONMENTS, ()) == made


def test_no_two_datasets_have_one_name_in_the_project():
    found = local_names(["hr.orders", "sales.orders", "sales.hr_orders", "sales.overview", "a.b_c", "a_b.c", "x.c"])
    assert len(set(found.values())) == len(found)
    assert found["sales.overview"] == "sales_overview"
    assert local_names(["sales.orders"]) == {"sales.orders": "orders"}


# --- datasets --------------------------------------------------------------------------------------------------------


def test_kedro_datasets_has_each_extra_that_is_asked_of_it():
    extras = {each.lower() for each in metadata("kedro-datasets").get_all("Provides-Extra")}
    types = KnownTypes.load(OFFER.pins["kedro-datasets"]).types.values()
    assert {extra for each in types if (extra := extra_of(each))} <= extras
    assert {name.lower().replace(".", "-") for name in WITHOUT_EXTRA}.isdisjoint(extras)


@pytest.mark.parametrize(
    ("definition", "actions", "extras", "left_out"),
    [
        ({"type": "pandas.CSVDataset", "filepath": "x"}, (Action.LOAD,), ("pandas-csvdataset",), ""),
        ({"type": "pandas.CSVDataset", "filepath": "x"}, (Action.SAVE,), ("pandas-csvdataset",), "saved"),
        ({"type": "pickle.PickleDataset", "filepath": "x"}, (Action.LOAD,), ("pickle-pickledataset",), "run code"),
        ({"type": "acme.LedgerDataset"}, (Action.LOAD,), (), "install its type"),
        (
            {"type": "partitions.PartitionedDataset", "path": "x", "dataset": {"type": "polars.CSVDataset"}},
            (Action.LOAD,), ("polars-csvdataset",), "",
        ),
    ],
    ids=["plain", "save only", "code", "unknown", "nested"],
)  # fmt: skip
def test_the_example_leaves_out_what_cannot_be_loaded_as_the_project_stands(definition, actions, extras, left_out):
    drawn = drawn_of("sales.x", actions, definition, KnownTypes.newest())
    assert drawn.extras == extras
    assert left_out in drawn.left_out
    assert bool(left_out) == bool(drawn.left_out)


# --- the platform team's folder --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "1" / "base").mkdir(parents=True)
    (tmp_path / "1" / "starters.yml").write_text("python: ['3.13']\n")
    return tmp_path


def theirs(folder: Path, manifest: str, **templates: str) -> Shelf:
    (folder / "1" / "starters.yml").write_text(manifest)
    for path, text in templates.items():
        (folder / "1" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "1" / path).write_text(text)
    return shelf(folder)


def test_a_platform_team_adds_replaces_and_takes_away(folder):
    made = theirs(
        folder,
        """
        python: ["3.13"]
        starters: [{id: forecast, title: Forecast}]
        groups: [{id: house, title: Our own}]
        packages: [{name: acme, group: house, versions: ">=3,<4", pinned: "3.1", always: true}]
        without: [polars, gitlab]
        """,
        **{
            "base/Dockerfile.j2": "FROM registry.example.org/python:{{ python }}\n",
            "base/.dockerignore.j2": "",
            "base/NOTICE": "{{ as it is }}\n",
            "forecast/src/__package__/model.py.j2": "{% for each in packages %}\n# {{ each }}\n{% endfor %}\n",
        },
    ).newest
    check_templates(made)
    files = files_of(answers(made, starter="forecast"), made)
    assert made.version == "1+1"
    assert files["Dockerfile"] == "FROM registry.example.org/python:3.13\n"
    assert ".dockerignore" not in files
    assert files["NOTICE"] == "{{ as it is }}\n"
    assert files["src/quarterly_report/model.py"] == "# acme\n"
    assert "acme==3.1" in files["requirements.txt"]
    assert {"polars", "gitlab"}.isdisjoint([*(p.name for p in made.packages), *(c.id for c in made.ci)])
    assert "src/quarterly_report/model.py" not in files_of(answers(made), made)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("[]", "version 1: starters.yml: it is missing, or holds no mapping"),
        ("packges: []", "version 1: packges: there is no such key"),
        ("python: [3.12]", "python.0"),
        ("packages: [{name: acme, group: tables, versions: '>=2', pinned: '1.0'}]", "packages.0.pinned"),
        ("packages: [{name: 'acme; rm', group: tables, versions: '>=1', pinned: '1.0'}]", "packages.0.name"),
        ("packages: [{name: acme, group: nothing, versions: '>=1', pinned: '1.0'}]", "there is no group nothing"),
        ("packages: [{name: acme, group: tables, versions: '@ file:///x', pinned: '1.0'}]", "packages.0.pinned"),
        ("starters: [{id: base, title: Base}]", "starters.0.id"),
        ("starters: [{id: a, title: 1}]", "put it into quotes"),
        ("without: [standard]", "at least one starter"),
        ("pins: {numpy: '1'}", "pins.numpy"),
        ("a: &a [*a", "it cannot be read"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_with_its_place(folder, manifest, said):
    with pytest.raises(Invalid) as refused:
        theirs(folder, manifest)
    assert said in refused.value.detail


def test_a_folder_that_belongs_to_no_starter_or_holds_no_version_is_refused(folder, tmp_path):
    with pytest.raises(Invalid, match="forecats"):
        theirs(folder, "starters: [{id: forecast, title: Forecast}]", **{"forecats/x.j2": "x"})
    (tmp_path / "nothing").mkdir()
    with pytest.raises(Invalid, match="holds no folder 1"):
        shelf(tmp_path / "nothing")


def test_what_a_folder_brings_and_what_it_changes_is_told_part_by_part(folder, tmp_path_factory):
    made = theirs(
        folder,
        "{python: ['3.13', '3.12'], groups: [{id: house, title: Our own}], without: [polars],"
        " packages: [{name: pandas, group: house, versions: '>=3', pinned: '3.1.2'}]}",
        **{"base/NOTICE": "ours\n", "standard/NOTES.md": "ours\n"},
    )
    assert made.newest.brought == {
        ("python", "3.13"), ("python", "3.12"), ("groups", "house"), ("packages", "pandas"),
        ("templates", "base/NOTICE"), ("templates", "standard/NOTES.md"),
    }  # fmt: skip
    assert made.newest.without == ("polars",)
    assert shelf().newest.brought == frozenset()
    (folder / "1" / "base" / "NOTICE").write_text("changed\n")
    again = theirs(folder, "groups: [{id: house, title: House}]")
    assert {(each.sign, *each.key) for each in differences(made.newest, again.newest)} == {
        ("+", "python", "3.11"), ("~", "python", "3.12"), ("~", "python", "3.13"), ("~", "groups", "house"),
        ("+", "packages", "polars"), ("~", "packages", "pandas"), ("~", "templates", "base/NOTICE"),
    }  # fmt: skip
    assert not [*differences(again.newest, again.newest)]
    assert (rewritten(made, again), rewritten(made, made), rewritten(shelf(), made)) == ((1,), (), ())


def test_the_lines_of_an_addition_are_read_as_what_was_said(folder):
    """Whatever is said of a package, in whatever order: what the page shows and what the folder says is the same."""
    said = {"name": "acme[x,y]", "pinned": "2.0.1", "versions": "", "group": "tables", "description": '"a": #b {c}'}
    addition = added(OFFER, "/srv/our starters", (), said, always=True)
    made = theirs(folder, addition.lines).newest
    assert made.packages[-1] == addition.package
    assert addition.package.versions == ">=2.0.1,<3"
    assert addition.prepare == "mkdir -p new-starters/1"
    assert addition.place == "mkdir -p '/srv/our starters' && cp -r new-starters/1 '/srv/our starters'"
    again = added(made, "/srv/s", (1, 2), {**said, "versions": ">= 2, < 4"}, always=False)
    assert (again.replaces, addition.replaces) == (True, False)
    assert again.prepare == "cp -r /srv/s new-starters && cp -r new-starters/2 new-starters/3"
    assert again.check == "muniment starters check new-starters --instead-of /srv/s"


def test_an_earlier_version_is_kept_beside_the_newest(folder):
    (folder / "2").mkdir()
    (folder / "2" / "starters.yml").write_text("python: ['3.12']\n")
    made = shelf(folder)
    assert made.newest.version == "1+2"
    assert made.of("1+1").python == ("3.13",)
    assert made.of("1").python == shelf().newest.python
    for unknown in ("1+3", "2+1", "1+1+1", "", "x", "1+", "9" * 9):
        with pytest.raises(Invalid, match="not kept here"):
            made.of(unknown)


def test_templates_that_were_given_out_are_as_they_were():
    """Until a release gives a version out, its line here follows its files; from then on the files stay."""
    digests = {
        number: hashlib.sha256(json.dumps([layer.manifest, layer.templates], sort_keys=True).encode()).hexdigest()
        for number, layer in shelf().own.items()
    }
    assert digests == GIVEN_OUT


#: By version the SHA-256 of its manifest and templates, by which projects of it are brought to the next one.
GIVEN_OUT = {1: "8e68a3d045a5ca9b20c211bfba92e7d4168774c75047a36300a3bfc235179552"}
