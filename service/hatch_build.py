"""Puts the database's migrations into the service's distributions.

They stand at the top of the checkout, where people look for them, and travel as
`muniment/migrations` in the wheel, where `muniment database upgrade` finds them. An
editable install carries none: the service then reads those of the checkout.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        folder = _migrations_near(Path(self.root))
        target = "migrations" if self.target_name == "sdist" else "muniment/migrations"
        build_data["force_include"].update(
            {
                str(path): f"{target}/{path.relative_to(folder).as_posix()}"
                for path in sorted(folder.rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts
            }
        )


def _migrations_near(service: Path) -> Path:
    """Beside the project in an unpacked sdist, above it in a checkout."""
    for folder in (service / "migrations", service.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    message = f"There is no migrations/env.py in {service} or above it; build from a whole checkout."
    raise FileNotFoundError(message)
