"""A Kedro project imported into a running service, and given back as a conf on which it runs without Muniment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from muniment.core.projects.conf import filled_in
from tests.core.confs import read_by_kedro, same
from tests.steward.conftest import Served

CATALOGS = Path(__file__).parents[3] / "shared" / "catalogs"
CANARY = "canary-Zx81hQ"
BASE = """\
# What this shop knows.
_root: data/01_raw

companies:
  type: pandas.CSVDataSet
  filepath: ${_root}/companies.csv
  layer: raw

Model@pandas:
  type: pandas.ParquetDataset
  filepath: s3://models/out/model.parquet
  credentials: dev_s3

Model@pickle:
  type: pickle.PickleDataset
  filepath: s3://models/out/model.parquet
  credentials: dev_s3

"{region}.orders":
  type: pandas.CSVDataset
  filepath: data/${globals:zone}/{region}.csv

letters:
  type: acme.datasets.LetterDataset
  greeting: ${runtime_params:greeting, "dear, dear"}

# It holds a key.
leaky:
  type: pandas.CSVDataset
  filepath: s3://models/leaky.csv
  fs_args: {key: app, secret: canary-Zx81hQ}

"{default}":
  type: MemoryDataset
"""
PROD = """\
companies:
  type: pandas.CSVDataset
  filepath: s3://models/companies.csv
"""


def conf(directory: Path, bucket: str = "models") -> Path:
    """A project's conf; domains of different branches share no bucket."""
    texts = {"base/catalog.yml": BASE, "prod/catalog.yml": PROD, "base/globals.yml": "zone: north\n"}
    texts |= {"base/parameters.yml": "a: 1\n", "local/credentials.yml": f"dev_s3: {{key: {CANARY}}}\n"}
    for path, text in texts.items():
        file = directory / "conf" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("s3://models", f"s3://{bucket}"))
    return directory / "conf"


def texts_of(directory: Path) -> dict[str, str]:
    return {file.relative_to(directory).as_posix(): file.read_text() for file in directory.rglob("*.yml")}


def catalogs(directory: Path) -> list[dict]:
    texts = {path: text for path, text in texts_of(directory).items() if "muniment" not in path}
    return [
        {name: same(entry) for name, entry in read_by_kedro(texts, env, {"greeting": "hi"}).items()}
        for env in ("local", "prod")
    ]


def test_an_import_shows_what_it_takes_and_leaves_then_makes_all_of_it(served: Served, tmp_path: Path) -> None:
    project = conf(tmp_path)

    shown = served.muniment("root", "import", project, "--domain", "shop", "--owner", "stewards", "--dry-run")

    assert shown.exit_code == 0, shown.output
    assert "Entries: 8; governed: 6; the project's own: 2." in shown.output
    assert "~ companies: Its type pandas.CSVDataSet is called pandas.CSVDataset today." in shown.output
    assert "? leaky (base/catalog.yml): secret." in shown.output
    assert "? {default} (base/catalog.yml): catch-all." in shown.output
    assert "+ dataset shop.{region}_orders" in shown.output
    assert "Credentials that the project provides: dev_s3." in shown.output
    assert CANARY not in shown.output
    assert not [each for each in served.pieces("root", "dataset") if each["id"].startswith("shop.")]

    done = served.muniment("root", "import", tmp_path, "--domain", "shop", "--owner", "stewards", "--yes", "--json")

    told = json.loads(done.output)
    assert told["applied"]
    assert {each["name"]: each["reason"] for each in told["left"]} == {"leaky": "secret", "{default}": "catch-all"}
    assert yaml.safe_load(told["settings"])["names"] == {
        "Model@pandas": "shop.model_pandas",
        "Model@pickle": "shop.model_pickle",
        "companies": "shop.companies",
        "letters": "shop.letters",
        "{region}.orders": "shop.{region}_orders",
    }
    (shop,) = [each["body"] for each in served.pieces("root", "domain") if each["id"] == "shop"]
    assert shop["locations"] == ["s3://models/"]
    assert (shop["types"], shop["variables"]) == (["acme.datasets.LetterDataset"], {"zone": "north"})
    assert yaml.safe_load(told["settings"])["default_environment"] == "dev"

    again = served.muniment("root", "import", project, "--domain", "shop", "--yes")
    assert "No changes." in again.output
    held = [served.pieces("root", kind) for kind in ("dataset", "domain", "environment")]
    assert CANARY not in done.output + again.output + json.dumps(held)


def test_what_was_imported_runs_without_muniment_once_it_is_exported(served: Served, tmp_path: Path) -> None:
    project = conf(tmp_path, "northern")
    before = catalogs(project)
    arguments = ("--domain", "shops.north", "--owner", "group:stewards")
    served.ask(
        "root", "PUT", "/v1/domains/shops", {"owner": "group:stewards", "locations": ["s3://northern/"]}, after=0
    )
    imported = served.muniment("root", "import", project, *arguments, "--yes", "--write")
    assert imported.exit_code == 0, imported.output
    left = (project / "base/catalog.yml").read_text()
    assert left.startswith("# What this shop knows.\n_root: data/01_raw\n")
    assert "# It holds a key.\nleaky:" in left
    assert "companies" not in left

    fresh = served.muniment(
        "root", "export", "--kedro", tmp_path / "out", "--domain", "shops.north", "--project", project
    )

    assert fresh.exit_code == 0, fresh.output
    assert catalogs(tmp_path / "out") == before
    assert (tmp_path / "out/base/parameters.yml").exists()
    assert not list((tmp_path / "out").rglob("credentials*"))

    in_place = served.muniment("root", "export", "--kedro", project)

    assert in_place.exit_code == 0, in_place.output
    assert catalogs(project) == before
    assert (project / "local/credentials.yml").exists()


def test_an_import_into_files_for_git_plans_as_the_import_would(served: Served, tmp_path: Path) -> None:
    project = conf(tmp_path, "gits")
    arguments = ("--domain", "gits", "--owner", "stewards", "--to", tmp_path / "git")
    written = served.muniment("root", "import", project, *arguments, MUNIMENT_URL=None, MUNIMENT_TOKEN=None)
    assert written.exit_code == 0, written.output

    applied = served.muniment("root", "apply", tmp_path / "git", "--yes")

    assert applied.exit_code == 0, applied.output
    again = served.muniment("root", "import", project, "--domain", "gits", "--dry-run")
    assert "No changes." in again.output or "kept in" in again.output
    assert CANARY not in "".join(texts_of(tmp_path / "git").values())


def test_an_export_names_what_it_could_not_write(served: Served, tmp_path: Path) -> None:
    settings = tmp_path / "conf/base/muniment.yml"
    settings.parent.mkdir(parents=True)
    settings.write_text("names:\n  leads: sales.hidden_leads\n  orders: sales.orders\n")

    told = served.muniment("root", "export", tmp_path / "conf", "--kedro")

    assert told.exit_code == 1
    assert "not written: leads (sales.hidden_leads)." in told.output
    assert (tmp_path / "conf/base/catalog_governed.yml").read_text().count("\norders:") == 1


def test_a_new_domain_needs_an_owner_and_a_place_without_catalogs_is_refused(served: Served, tmp_path: Path) -> None:
    refused = served.muniment("root", "import", conf(tmp_path), "--domain", "fresh", "--yes")
    assert (refused.exit_code, "--owner group:NAME" in refused.output) == (1, True)
    empty = served.muniment("root", "import", tmp_path / "nowhere", "--domain", "fresh", "--yes")
    assert (empty.exit_code, "is no directory" in empty.output) == (1, True)
    (tmp_path / "bare").mkdir()
    bare = served.muniment("root", "import", tmp_path / "bare", "--domain", "fresh", "--yes")
    assert (bare.exit_code, "holds no catalog" in bare.output) == (1, True)


def test_a_steward_imports_what_needs_no_administrator_and_is_told_what_does(served: Served, tmp_path: Path) -> None:
    catalog = tmp_path / "conf/base/catalog.yml"
    catalog.parent.mkdir(parents=True)
    catalog.write_text("notes:\n  type: text.TextDataset\n  filepath: data/notes.txt\n")
    done = served.muniment("sam", "import", tmp_path, "--domain", "sales", "--yes")
    assert done.exit_code == 0, done.output

    catalog.write_text("more:\n  type: acme.datasets.MoreDataset\n  filepath: s3://elsewhere/more.txt\n")
    refused = served.muniment("sam", "import", tmp_path, "--domain", "sales", "--yes")

    assert refused.exit_code == 1
    assert "This has to be made by an administrator first:\n  domain sales with locations: " in refused.output
    assert "s3://elsewhere/" in refused.output
    assert "acme.datasets.MoreDataset" in refused.output
    assert not [each for each in served.pieces("sam", "dataset") if each["id"] == "sales.more"]


def test_what_another_project_declared_is_not_changed_by_an_import_unless_that_is_said(
    served: Served, tmp_path: Path
) -> None:
    def project(name: str, kind: str) -> Path:
        catalog = tmp_path / name / "conf/base/catalog.yml"
        catalog.parent.mkdir(parents=True, exist_ok=True)
        catalog.write_text(f"plans: {{type: {kind}, filepath: data/plans}}\n")
        return tmp_path / name

    arguments = ("--domain", "sales", "--yes", "--write")
    assert served.muniment("sam", "import", project("one", "text.TextDataset"), *arguments).exit_code == 0
    other = project("other", "json.JSONDataset")

    refused = served.muniment("sam", "import", other, *arguments)

    assert (refused.exit_code, "as something else than the conf says: sales.plans." in refused.output) == (1, True)
    assert "plans" in (other / "conf/base/catalog.yml").read_text()
    assert not (other / "conf/base/muniment.yml").exists()
    own = served.muniment("sam", "import", project("one", "pickle.PickleDataset"), *arguments)
    assert own.exit_code == 0, own.output
    assert served.muniment("sam", "import", other, *arguments, "--overwrite").exit_code == 0
    (plans,) = [each["body"] for each in served.pieces("sam", "dataset") if each["id"] == "sales.plans"]
    assert plans["environments"]["base"]["type"] == "json.JSONDataset"


def test_an_environment_without_a_catalog_can_be_named_and_one_that_is_not_there_is_refused(
    served: Served, tmp_path: Path
) -> None:
    project = conf(tmp_path, "named")
    arguments = ("import", project, "--domain", "named", "--owner", "stewards", "--dry-run")

    named = served.muniment("root", *arguments, "--environment", "local=dev", "--json")

    settings = yaml.safe_load(json.loads(named.output)["settings"])
    assert settings["environments"] == {"local": "dev", "prod": "prod"}
    mistyped = served.muniment("root", *arguments, "--environment", "lokal=dev")
    assert mistyped.exit_code == 1
    assert "has no environment lokal, as --environment says. It has: local, prod." in mistyped.output
    under_all = served.muniment("root", *arguments, "--environment", "local=base")
    assert (under_all.exit_code, "base is under all environments" in under_all.output) == (1, True)


@pytest.mark.skipif(not CATALOGS.is_dir(), reason="no real catalogs beside the checkout")
@pytest.mark.parametrize(
    "conf_path",
    [
        "kedro-academy/kedro-deep-dive/spaceflights/conf",
        "kedro-academy/kedro-reflection-agent/conf",
        "kedro-academy/kedro-agentic-workflows/conf",
        "kedro-academy/kedro-ppt-autogen-workflow/conf",
        "kedro-academy/kedro-mlrun-integration/kedro/risk-profile-classifier/conf",
    ],
)
def test_a_real_project_goes_through_the_service_and_comes_back_as_it_was(
    served: Served, tmp_path: Path, conf_path: str
) -> None:
    real = CATALOGS / conf_path
    domain = f"real_{real.parent.name.replace('-', '_')}"
    done = served.muniment("root", "import", real, "--domain", domain, "--owner", "stewards", "--yes", "--json")
    assert done.exit_code == 0, done.output
    project = tmp_path / "project"
    for path, text in filled_in(texts_of(real), {}).items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "base/muniment.yml").write_text(json.loads(done.output)["settings"])

    back = served.muniment("root", "export", "--kedro", tmp_path / "out", "--domain", domain, "--project", project)

    assert back.exit_code == 0, back.output
    given = {"agent_id": "a", "resume_id": "r"}
    for environment in ("local", *json.loads(done.output)["environments"]):
        was = read_by_kedro(texts_of(real), environment, given)
        now = read_by_kedro(texts_of(tmp_path / "out"), environment, given)
        assert {name: same(entry) for name, entry in now.items()} == {name: same(entry) for name, entry in was.items()}
