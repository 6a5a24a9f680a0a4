"""Real projects' catalogs, governed and written back, load in Kedro as the datasets that they were.

The catalogs are public teaching and starter projects', read where they lie beside the checkout, grouped by the conf
that they belong to. Two of the projects are templates, whose one name is filled in; one has variables that its
globals.yml is not beside, and a resolver of its own.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from muniment.core.projects.conf import REASONS, filled_in, read_conf
from muniment.core.projects.governed import Aim, govern
from muniment.core.projects.written import Naming, write_conf
from tests.core.confs import TYPES, read_by_kedro, same

CATALOGS = Path(__file__).parents[3] / "shared" / "catalogs"
FILES = sorted(CATALOGS.rglob("catalog*.yml"))
CONFS = sorted({next(parent for parent in file.parents if parent.name == "conf") for file in FILES})
#: What runs of these projects are given; and what stands for what is not beside the catalogs.
PARAMETERS = {"agent_id": "shop", "resume_id": "r7"}
GLOBALS = {"base/globals.yml": "snowflake_uri_raw: raw\nsnowflake_uri_data: data\n"}
RESOLVERS = {"kedro_root": lambda *_: "/project"}

pytestmark = pytest.mark.skipif(not FILES, reason="no real catalogs beside the checkout")


@cache
def _texts(conf: Path) -> dict[str, str]:
    files = {file.relative_to(conf).as_posix(): file.read_text(encoding="utf-8") for file in conf.rglob("*.yml")}
    return filled_in(files, {"python_package": "company"})


@cache
def _imported(conf: Path):
    return govern(read_conf(_texts(conf)), Aim("shop", TYPES))


def _exported(conf: Path) -> dict[str, str]:
    imported = _imported(conf)
    datasets = {taken.governed: taken.environments for taken in imported.taken}
    return write_conf(datasets, Naming(imported.names), {"base": imported.variables}, _texts(conf))


def test_every_entry_of_every_real_catalog_is_governed_or_named_with_a_reason():
    for conf in CONFS:
        imported = _imported(conf)
        assert imported.taken_count + len(imported.left) == imported.count
        assert all(left.name and left.message and left.reason in REASONS for left in imported.left)


def test_nineteen_of_twenty_real_entries_are_governed():
    taken = sum(_imported(conf).taken_count for conf in CONFS)
    count = sum(_imported(conf).count for conf in CONFS)
    left = Counter(left.reason.value for conf in CONFS for left in _imported(conf).left)
    print(f"{taken} of {count} entries are governed; the others: {dict(left)}")
    assert taken / count >= 0.95
    # One holds keys, six catch every name, five name variables that are not beside them, three ask code of their own.
    assert left == {"secret": 1, "catch-all": 6, "variable": 5, "resolver": 3}


def test_every_real_catalog_written_back_loads_in_kedro_as_the_datasets_that_it_was():
    entries = Counter()
    differing = {}
    for conf in CONFS:
        before = _texts(conf) | (GLOBALS if "mlops" in str(conf) else {})
        after = _exported(conf) | (GLOBALS if "mlops" in str(conf) else {})
        for environment in ("local", *_imported(conf).environments):
            was = read_by_kedro(before, environment, PARAMETERS, RESOLVERS)
            now = read_by_kedro(after, environment, PARAMETERS, RESOLVERS)
            assert was.keys() == now.keys()
            for name in was:
                equal = same(was[name]) == same(now[name])
                entries[equal] += 1
                if not equal:
                    differing[f"{conf.parent.name}/{environment}: {name}"] = (was[name], now[name])
    print(f"{entries[True]} of {entries.total()} entries load as they were, from {len(FILES)} files")
    assert not differing
    assert len(FILES) >= 41


def test_importing_what_was_exported_gives_the_same_governed_datasets():
    for conf in CONFS:
        once = _imported(conf)
        again = govern(read_conf(_exported(conf)), Aim("shop", TYPES))
        assert {taken.governed: taken.environments for taken in again.taken} == {
            taken.governed: taken.environments for taken in once.taken
        }
        assert again.names == once.names
