"""What is installed is pinned, hashed, complete, and says nothing of where it was fetched from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def locked() -> dict[str, list[tuple[Requirement, str]]]:
    entries: dict[str, list[tuple[Requirement, str]]] = {}
    for entry in re.findall(r"^\S.*(?:\n    .*)*", LOCK, re.MULTILINE):
        requirement = Requirement(entry.partition(" \\\n")[0])
        entries.setdefault(canonicalize_name(requirement.name), []).append((requirement, entry))
    return entries


def asked_for() -> list[Requirement]:
    """Every direct dependency of the two distributions, of building them, and of working on them."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    for project in ("service", "client"):
        told = tomllib.loads((ROOT / project / "pyproject.toml").read_text(encoding="utf-8"))
        asked = [*asked, *told["project"]["dependencies"], *told["build-system"]["requires"]]
    return [Requirement(text) for text in sorted(set(asked))]


#: What only macOS or Windows need, and what stands in for the standard library of later Pythons.
OF_OTHER_SYSTEMS = {"appnope", "colorama", "pywin32-ctypes"}
BACKPORTS = {"backports-tarfile", "importlib-metadata", "lazy-importer", "zipp"}


def test_everything_is_pinned_to_one_version_with_its_hashes():
    for entries in locked().values():
        for requirement, entry in entries:
            assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), entry
            assert re.search(r"^    --hash=sha256:[0-9a-f]{64}", entry, re.MULTILINE), entry


def test_no_line_holds_an_address():
    for line in LOCK.splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==\S+( ; [^/:]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


@pytest.mark.parametrize("asked", asked_for(), ids=lambda asked: asked.name)
def test_each_direct_dependency_is_locked_as_it_is_asked_for(asked):
    entries = locked()[canonicalize_name(asked.name)]
    for requirement, _ in entries:
        (pin,) = requirement.specifier
        assert asked.specifier.contains(pin.version, prereleases=True)


def test_nothing_in_the_lock_is_held_back_from_one_of_our_pythons():
    for name, entries in locked().items():
        for minor in ("3.11", "3.12", "3.13"):
            environment = {"python_version": minor, "python_full_version": f"{minor}.1", "sys_platform": "linux"}
            linux = {**environment, "os_name": "posix", "platform_python_implementation": "CPython"}
            fitting = [r for r, _ in entries if r.marker is None or r.marker.evaluate(linux)]
            needed = name not in OF_OTHER_SYSTEMS and (minor == "3.11" or name not in BACKPORTS)
            assert len(fitting) == int(needed), (name, minor)
