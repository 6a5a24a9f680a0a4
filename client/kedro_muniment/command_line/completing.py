"""What the shell is offered at Tab: names of datasets, pipelines and environments, from files alone.

Nothing is asked over a network and nothing of the project is imported: a person who presses Tab waits for it, and has
not said yet that anything should happen. Names of datasets come from the leases that are kept for this user, and from
`names:`; those of pipelines from the folders that Kedro finds them in. What cannot be read is not offered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import click

#: How many kept leases are read, the newest first.
MOST_LEASES: Final = 8


def datasets(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Governed names, and the project's names for them."""
    from kedro_muniment.leases import kept

    known = {*kept.names(MOST_LEASES), *_mapped_names()}
    return sorted(name for name in known if name.startswith(typed) and "{" not in name and name.isprintable())


def pipelines(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """The names under which Kedro finds pipelines: a folder or a module each, and the default."""
    project = _project()
    package = _kedro_section(project).get("package_name") if project else None
    source = _kedro_section(project).get("source_dir", "src") if project else "src"
    found = (project / source / package / "pipelines").glob("*") if project and package else ()
    names = {each.stem for each in found if not each.name.startswith(("_", "."))}
    return sorted(name for name in {"__default__", *names} if name.startswith(typed))


def environments(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Kedro's environments: the folders of its conf."""
    project = _project()
    found = (project / "conf").glob("*/") if project else ()
    return sorted(each.name for each in found if each.is_dir() and each.name.startswith(typed))


def _mapped_names() -> Iterator[str]:
    import yaml

    project = _project()
    for file in (project / "conf").glob("*/muniment.y*ml") if project else ():
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            document = yaml.safe_load(file.read_bytes())
            names = document.get("names") if isinstance(document, dict) else None
            if isinstance(names, dict):
                yield from (str(part) for pair in names.items() for part in pair)


def _project() -> Path | None:
    """The folder of the Kedro project around the current directory."""
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if _kedro_section(each)), None)


def _kedro_section(folder: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        held = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["kedro"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return held if isinstance(held, dict) else {}
