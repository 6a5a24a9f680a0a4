"""``kedro muniment init``: a project's first ``muniment.yml``, from what it has and from what the service knows.

Who is signed in already is offered the domains of the datasets that they may know of, and names of the project that
are the last part of just one such dataset's name are mapped to it. The file is plain, commented, and without secrets.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kedro_muniment import config
from kedro_muniment.problems import BadConfig, MunimentError, NotSignedIn, plain

TEMPLATE: Final = """\
# Muniment: which of this project's data is governed, and where its catalog comes from.
# Plain YAML: nothing is resolved here. No secrets: sign in with `kedro muniment login`.

# The service's address (MUNIMENT_URL wins over it).
url: {url}

# The service's environment for each of Kedro's (MUNIMENT_ENVIRONMENT wins over it).
environments:
  local: {environment}
# default_environment: {environment}    # for every Kedro environment that is not listed

# Names that begin so are governed: if Muniment does not give one to you, the run is refused before its first node.
{governed}

# This project's own names for governed datasets, so that pipelines need not change.
{names}

# Who wins when catalog.yml defines a governed name as well: error, warn, governed or local.
precedence:
  default: error

# project: my-project           # sent along, for policies that ask for it
# purpose: forecasting
# types: [my_package.MyDataset]             # further dataset types that may be built here
# allow_code_formats: [pickle.PickleDataset]   # formats whose content runs as code when loaded
# project_paths: true           # definitions may point into this project (project://data/…)
"""
#: How many pages of datasets are read to offer domains and names.
MOST_PAGES: Final = 10


@dataclass(frozen=True, slots=True)
class Offer:
    """What the service knows that this person may know of: ``datasets`` is ``None`` where nobody is signed in."""

    datasets: tuple[str, ...] | None
    #: Why nothing more is known, for the person at the keyboard.
    told: str | None = None

    @property
    def domains(self) -> list[str]:
        return sorted({name.partition(".")[0] for name in self.datasets or ()})


@dataclass(frozen=True, slots=True)
class Settings:
    """What is written down."""

    url: str
    environment: str
    domains: Sequence[str]
    names: Mapping[str, str]

    def text(self) -> str:
        governed = [f"{domain}.*" for domain in self.domains]
        mapped = "\n".join(f"  {json.dumps(local)}: {governed}" for local, governed in self.names.items())
        return TEMPLATE.format(
            url=json.dumps(self.url),
            environment=json.dumps(self.environment),
            governed=f"governed: {json.dumps(governed)}" if governed else '# governed: ["sales.*"]',
            names=f"names:\n{mapped}" if mapped else "names: {}\n#  orders: sales.orders",
        )


def refuse_second(folder: Path) -> None:
    """A project's settings are never written over."""
    for name in config.FILE_NAMES:
        if (folder / name).exists():
            raise BadConfig(f"{folder / name} is there already. Edit it, or move it away first.")


def checked_address(url: str) -> str:
    try:
        config.KEYS["url"](url)
    except ValueError as error:
        raise BadConfig(f"--url must be {error}.") from None
    return url


def offered(url: str, environment: str) -> Offer:
    """What there is for whoever is signed in at the service; that it cannot be asked stops nobody from beginning."""
    from kedro_muniment.service import Service
    from kedro_muniment.sign_in.signing_in import token

    try:
        return Offer(tuple(_datasets(Service(url, token(url)), environment)))
    except NotSignedIn:
        return Offer(None, "You are not signed in there yet.")
    except MunimentError as problem:
        return Offer(None, f"The service could not be asked what there is. {plain(problem.message)}")


def _datasets(service: Any, environment: str) -> Iterable[str]:
    after: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = service.datasets({"environment": environment, "limit": "1000", **after})
        yield from (str(each["name"]) for each in page["items"])
        if not page.get("next"):
            return
        after = {"after": str(page["next"])}


def matching(local: Iterable[str], datasets: Iterable[str], domains: Sequence[str]) -> dict[str, str]:
    """Names of the project that are the last part of one governed name, and of no other, in the domains chosen."""
    by_leaf: defaultdict[str, list[str]] = defaultdict(list)
    for name in datasets:
        if "{" not in name and name.partition(".")[0] in {domain.partition(".")[0] for domain in domains}:
            by_leaf[name.rpartition(".")[2]].append(name)
    return {name: by_leaf[name][0] for name in sorted(local) if len(by_leaf.get(name, ())) == 1}


def written(folder: Path, settings: Settings) -> Path:
    file = folder / config.FILE_NAMES[0]
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(settings.text(), encoding="utf-8")
    return file
