"""What the plugin costs a project: `kedro run` with it and without, and catalogs of ten thousand datasets.

The same small project is started as four people have it: without the plugin, with it and not
configured, with its thousand datasets governed, and with the same thousand in its own
`catalog.yml` and no plugin. They take turns, so what is compared was measured within the
same seconds; each is a whole process, as the shell starts it. Every run is checked: it
ended well and wrote its report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import kedro
import yaml

from muniment.core.datasets import Dataset
from muniment.core.domains import Domain
from muniment.core.environments import Environment
from muniment.core.grants import Grant
from muniment.core.names import ROOT
from muniment.core.realm import Change
from muniment.core.schema import GOVERNING_ACTIONS, Action
from tests.bench.caller import WrongAnswer
from tests.bench.fixture import STEWARD, people
from tests.bench.servers import ROOT as CHECKOUT
from tests.bench.servers import Postgres, fill, service

if TYPE_CHECKING:
    from demo.issuer import RunningIssuer

USUAL = 1_000
MANY = 10_000
USED = ("lake.number_0", "lake.number_1")
DOMAIN = "lake"
_RUN_SECONDS = 120
_PACKAGE = "measured"
_IN_A_FILE = 200

Tell = Callable[[str], None]

_PIPELINE = """
from kedro.pipeline import Node, Pipeline

def register_pipelines():
    return {"__default__": Pipeline([Node(lambda number: number, inputs="lake.number_0", outputs="lake.number_1")])}
"""

#: Builds every dataset of a catalog as a run would, and tells how long each part took, in seconds.
_PROBE = """
import json, logging, sys, time, warnings
from pathlib import Path

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
import kedro_datasets.json

project, plain = Path(sys.argv[1]), sys.argv[2]
bootstrap_project(project)
began = time.perf_counter()
with KedroSession.create(project_path=project) as session:
    context = session.load_context()
    if plain != "-":
        context.config_loader["catalog"] = json.loads(Path(plain).read_bytes())
    known = time.perf_counter()
    catalog = context.catalog
made = time.perf_counter()
built = [catalog[name] for name in catalog.keys() if name.startswith("lake.")]
done = time.perf_counter()
print(json.dumps({"datasets": len(built), "known": known - began, "made": made - known, "built": done - made}))
"""


@dataclass(slots=True)
class Started:
    """One way to have the project: what each whole process took, in seconds, and what of it was processor time."""

    way: str
    command: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Built:
    """Building every dataset of a catalog, in seconds: until the catalog is known, made, and each dataset built."""

    way: str
    datasets: int
    known: list[float] = field(default_factory=list)
    made: list[float] = field(default_factory=list)
    built: list[float] = field(default_factory=list)

    @property
    def by_kedro(self) -> float:
        """What Kedro takes once it is given the catalog as a mapping."""
        return median(made + built for made, built in zip(self.made, self.built, strict=True))


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured."""

    rounds: int
    started: Sequence[Started]
    built: Sequence[Built]


def realm(count: int, folder: Path, reader: str) -> list[Change]:
    """A domain of so many JSON files, all of which one person may load and save."""
    nouns: list[Domain | Environment | Dataset | Grant] = [
        Environment("dev"),
        Domain(DOMAIN, "lake-stewards", locations=(f"{folder}/",)),
        *(Dataset(name, "lake-stewards", environments={"base": one}) for name, one in definitions(count, folder)),
        Grant("steward", f"user:{STEWARD}", frozenset(GOVERNING_ACTIONS), ROOT, because="administers the benchmark"),
        Grant("reader", f"user:{reader}", frozenset({Action.LOAD, Action.SAVE}), DOMAIN, because="is measured"),
    ]
    return [Change(type(noun), noun.id if isinstance(noun, Grant) else noun.name, noun) for noun in nouns]


def definitions(count: int, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(count):
        name = f"{DOMAIN}.number_{number}"
        yield name, {"type": "json.JSONDataset", "filepath": f"{folder}/{number}.json", "save_args": {"indent": 2}}


def _parts(catalog: Mapping[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    entries = iter(catalog.items())
    while part := list(islice(entries, _IN_A_FILE)):
        yield part


async def measure(machine: Postgres, issuer: RunningIssuer, rounds: int, tell: Tell) -> Measured:
    """Start each project so many times in turn, then build the large catalogs."""
    with tempfile.TemporaryDirectory(prefix="muniment-bench-") as made, _packages(Path(made)) as packages:
        async with _placed(machine, issuer, USUAL, Path(made), packages, tell) as place:
            started = _started(place, rounds, tell)
        async with _placed(machine, issuer, MANY, Path(made), packages, tell) as place:
            built = _built(place, max(3, rounds // 3), tell)
    return Measured(rounds, started, built)


@asynccontextmanager
async def _placed(
    machine: Postgres, issuer: RunningIssuer, count: int, folder: Path, packages: tuple[Path, Path], tell: Tell
) -> AsyncIterator[_Place]:
    """A service that holds so many datasets, and the projects that use them."""
    anna = people(1)[0].id
    tell(f"declaring {count:,} datasets")
    lake = folder / f"lake-{count}"
    lake.mkdir()
    (lake / "0.json").write_text("0")
    url = machine.make(f"bench_starting_{count}")
    await fill(url, realm(count, lake, anna))
    async with service(url, issuer.url) as server:
        place = _Place(folder / str(count), lake, count, f"http://127.0.0.1:{server.port}", *packages)
        place.prepare(issuer.token(anna))
        yield place


@contextmanager
def _packages(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Two folders of packages that are the same but for the plugin: links into this environment's."""
    installed = Path(kedro.__file__).parents[1]
    folders = folder / "without", folder / "with"
    for place in folders:
        place.mkdir()
        for found in installed.iterdir():
            if (
                not found.name.startswith(("kedro_muniment", "__editable__", "_kedro_muniment"))
                and found.suffix != ".pth"
            ):
                (place / found.name).symlink_to(found)
    (folders[1] / "kedro_muniment").symlink_to(CHECKOUT / "client" / "kedro_muniment")
    (told,) = installed.glob("kedro_muniment-*.dist-info")
    (folders[1] / told.name).symlink_to(told)
    yield folders


@dataclass(frozen=True, slots=True)
class _Place:
    """The projects of one lake, and how each is started."""

    folder: Path
    lake: Path
    count: int
    url: str
    without: Path
    with_plugin: Path

    def prepare(self, token: str) -> None:
        catalog = dict(definitions(self.count, self.lake))
        used = {name: catalog[name] for name in USED}
        (self.folder / "token").parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "token").write_text(token)
        (self.folder / "catalog.json").write_text(json.dumps(catalog))
        self._project("small", used)
        self._project("own", catalog if self.count == USUAL else used)
        governed = self._project("governed", {})
        settings = {"url": self.url, "default_environment": "dev", "governed": [f"{DOMAIN}.*"]}
        (governed / "conf" / "base" / "muniment.yml").write_text(yaml.safe_dump(settings))

    def _project(self, name: str, catalog: Mapping[str, Any]) -> Path:
        project = self.folder / name
        source = project / "src" / _PACKAGE
        for place in (source, project / "conf" / "base", project / "conf" / "local"):
            place.mkdir(parents=True)
        (project / "pyproject.toml").write_text(
            f'[tool.kedro]\npackage_name = "{_PACKAGE}"\nproject_name = "Measured"\nkedro_init_version = "1.0.0"\n'
        )
        (source / "__init__.py").write_text("")
        (source / "settings.py").write_text("CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}\n")
        (source / "pipeline_registry.py").write_text(_PIPELINE)
        # OmegaConf refuses a file of more than 10,000 nodes, so a large catalog is several files.
        for number, part in enumerate(_parts(catalog)):
            (project / "conf" / "base" / f"catalog_{number}.yml").write_text(yaml.safe_dump(dict(part)))
        return project

    def run(self, project: str, packages: Path, *arguments: str) -> tuple[float, float, str]:
        """One whole process: seconds by the clock, seconds of processor, and what it printed."""
        others = ("MUNIMENT_", "KEDRO_", "PYTHONDONTWRITEBYTECODE")  # without bytecode, each start compiles all again
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "PYTHONPATH": str(packages),
            "DO_NOT_TRACK": "1",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "MUNIMENT_TOKEN_FILE": str(self.folder / "token"),
        }
        # -S: nothing but these packages, no matter what this environment's .pth files would add.
        command = [sys.executable, "-S", *arguments]
        with tempfile.TemporaryFile() as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=self.folder / project, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if process.returncode:
            raise WrongAnswer(f"{' '.join(arguments)} in {project} ended with {process.returncode}:\n{said[-2000:]}")
        return wall, used.ru_utime + used.ru_stime, said


def _started(place: _Place, rounds: int, tell: Tell) -> list[Started]:
    ways = [
        ("without the plugin", "run", "small", place.without),
        ("with it, not configured", "run", "small", place.with_plugin),
        (f"{USUAL:,} in catalog.yml, no plugin", "run", "own", place.without),
        (f"{USUAL:,} governed, lease warm", "run", "governed", place.with_plugin),
        ("without the plugin", "--help", "small", place.without),
        ("with it, not configured", "--help", "small", place.with_plugin),
        (f"{USUAL:,} governed", "--help", "governed", place.with_plugin),
    ]
    found = [Started(way, command) for way, command, _, _ in ways]
    for round_ in range(rounds + 1):  # the first is not counted: it compiles, and fetches the lease
        tell(f"starting the projects, round {round_} of {rounds}")
        for each, (_, command, project, packages) in zip(found, ways, strict=True):
            report = place.lake / "1.json"
            report.unlink(missing_ok=True)
            wall, cpu, said = place.run(project, packages, "-m", "kedro", command)
            if command == "run" and not report.exists():
                raise WrongAnswer(f"{each.way} wrote no report:\n{said[-2000:]}")
            if round_:
                each.wall.append(wall)
                each.cpu.append(cpu)
    return found


def _built(place: _Place, rounds: int, tell: Tell) -> list[Built]:
    probe = place.folder / "probe.py"
    probe.write_text(dedent(_PROBE))
    ways = [
        ("the plain mapping, Kedro alone", "small", place.without, str(place.folder / "catalog.json")),
        ("governed, lease warm", "governed", place.with_plugin, "-"),
    ]
    found = [Built(way, place.count) for way, *_ in ways]
    for round_ in range(rounds + 1):
        tell(f"building {place.count:,} datasets, round {round_} of {rounds}")
        for each, (_, project, packages, plain) in zip(found, ways, strict=True):
            _, _, said = place.run(project, packages, str(probe), str(place.folder / project), plain)
            told = json.loads(said.splitlines()[-1])
            if told["datasets"] != place.count:
                raise WrongAnswer(f"{each.way}: {told['datasets']} of {place.count} datasets were built.")
            if round_:
                each.known.append(told["known"])
                each.made.append(told["made"])
                each.built.append(told["built"])
    return found


def text(measured: Measured) -> str:
    """What was measured, in columns that say what they are."""
    lines = [f"{'kedro …':<10}{'':<34}{'s':>8}{'s of CPU':>10}{'more, ms':>11}{'more CPU, ms':>14}"]
    for each in measured.started:
        first = next(other for other in measured.started if other.command == each.command)
        more = median(one - other for one, other in zip(each.wall, first.wall, strict=True)) * 1000
        more_cpu = median(one - other for one, other in zip(each.cpu, first.cpu, strict=True)) * 1000
        lines.append(
            f"{each.command:<10}{each.way:<34}{median(each.wall):>8.2f}{median(each.cpu):>10.2f}"
            f"{more:>11.0f}{more_cpu:>14.0f}"
        )
    lines += [
        f"Medians of {measured.rounds} turns. “more”: the median of the differences to the command's first line.",
        "",
        f"{'':<34}{'datasets':>9}{'known, s':>10}{'made, s':>9}{'built, s':>10}{'by Kedro, to plain':>20}",
    ]
    plain = measured.built[0].by_kedro
    lines += [
        f"{each.way:<34}{each.datasets:>9,}{median(each.known):>10.2f}{median(each.made):>9.2f}"
        f"{median(each.built):>10.2f}{each.by_kedro / plain:>20.2f}"
        for each in measured.built
    ]
    lines.append(
        "“known”: until the catalog is a mapping (plain: JSON read from disk; governed: the service asked, the lease "
        "verified, merged). “made” and “built”: what Kedro does with it, up to the last dataset."
    )
    return "\n".join(lines)
