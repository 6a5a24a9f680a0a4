"""``muniment export --kedro``: what is governed, given back as a conf on which a project runs without Muniment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from muniment.core.comparing import Live
from muniment.core.datasets import SERVED
from muniment.core.definitions import variables_of, with_variables
from muniment.core.environments import BASE
from muniment.core.kept import Address
from muniment.core.names import ROOT, domain_of, lineage
from muniment.core.problems import Invalid
from muniment.core.projects import texts as projects_yaml
from muniment.core.projects.written import Naming, naming_of, write_conf
from muniment.steward.directories import inside, put
from muniment.steward.importing import SETTINGS, conf_of, read_texts, text_of
from muniment.steward.refusals import Refused

#: Files that hold secrets are nobody's to copy; and what says how the project is governed is of no use without that.
_NOT_COPIED = ("credentials", "muniment.y")

Definitions = Mapping[str, Mapping[str, object]]


class Governed:
    """What stands in some domains and below them, and what their variables stand for."""

    def __init__(self, standing: Mapping[Address, Live], domains: Collection[str]) -> None:
        self._bodies = {address: live.body for address, live in standing.items() if live.body is not None}
        self._domains = sorted(domains)
        self.environments = sorted(key for kind, key in self._bodies if kind == "environment" and key != BASE)

    def datasets(self) -> dict[str, Definitions]:
        """The definitions of every dataset that a catalog may hold, by its name.

        A variable to which another of the domains gives another value is filled in: a conf has one value for each.
        """
        found: dict[str, Definitions] = {}
        for (kind, name), body in self._bodies.items():
            inside = any(name.startswith(f"{domain}.") for domain in self._domains)
            if kind == "dataset" and inside and body["lifecycle"] in SERVED:
                found[name] = self._as_one_conf_has_it(domain_of(name), body["environments"])
        return found

    def shared_variables(self) -> dict[str, dict[str, str]]:
        """The variables that the conf's globals hold: those of the first of the domains."""
        return self.variables(self._domains[0])

    def variables(self, domain: str) -> dict[str, dict[str, str]]:
        """The variables of a domain by environment: what all environments share is under ``base``."""
        shared: dict[str, str] = {}
        for name in reversed([each for each in lineage(domain) if each != ROOT]):
            shared.update(self._said("domain", name))
        shared.update(self._said("environment", BASE))
        return {BASE: shared} | {name: self._said("environment", name) for name in self.environments}

    def _said(self, kind: str, key: str) -> dict[str, str]:
        return dict((self._bodies.get((kind, key)) or {}).get("variables", {}))

    def _as_one_conf_has_it(self, domain: str, environments: Definitions) -> Definitions:
        used = {name for definition in environments.values() for name in variables_of(definition)}
        own, whole = self.variables(domain), self.shared_variables()
        if all(own[BASE].get(name) == whole[BASE].get(name) for name in used):
            return environments
        filled: dict[str, Mapping[str, object]] = {}
        for environment in (BASE, *self.environments):
            definition = environments.get(environment, environments.get(BASE))
            if definition is not None:
                filled[environment] = with_variables(definition, own[BASE] | own[environment])
        return filled


def project_conf(directory: Path, project: Path | None) -> Path | None:
    """The conf whose names are used: the one that is named, else the directory itself if it is governed."""
    if project is not None:
        return conf_of(project)
    return directory if (directory / SETTINGS).is_file() else None


def export(governed: Governed, naming: Naming, directory: Path, conf: Path | None) -> Iterator[Path]:
    """Write a conf, or bring the project's own back to what it was; gives each file that was written."""
    own = read_texts(conf) if conf is not None else {}
    datasets = governed.datasets()
    if not datasets:
        raise Refused("There is no dataset there that you may declare; nothing was written.")
    in_place = conf is not None and directory.resolve() == conf.resolve()
    if not in_place and directory.exists() and any(directory.iterdir()):
        raise Refused(f"{directory} holds something already. Name a new directory, or the project's own conf.")
    texts = write_conf(datasets, naming, governed.shared_variables(), own)
    files = {path: inside(directory, path) for path in texts}
    for path, text in texts.items():
        if not (in_place and own.get(path) == text):
            put(files[path], text)
            yield files[path]
    if conf is not None and not in_place:
        yield from _copied(conf, directory)


def missing(governed: Governed, naming: Naming) -> list[str]:
    """Those of the project's names for which nothing was written, and what they are mapped to."""
    found = governed.datasets()
    return [
        f"{local} ({name})"
        for local, name in sorted(naming.names.items())
        if name not in found and "{" not in local and not {local, name} & naming.own
    ]


def domains_of(naming: Naming) -> frozenset[str]:
    """The domains of what a project's names are mapped to."""
    return frozenset(filter(None, map(domain_of, naming.names.values())))


def naming_in(conf: Path) -> Naming:
    """What the project's ``muniment.yml`` says of its names."""
    file = conf / SETTINGS
    if not file.is_file():
        return Naming()
    try:
        return naming_of(projects_yaml.parse(text_of(file)))
    except Invalid as refused:
        raise Refused(f"{file}: {refused.detail}") from None


def _copied(conf: Path, directory: Path) -> Iterator[Path]:
    """The rest of the conf, as it is; credentials are left where they are."""
    catalogs = read_texts(conf)
    for file in sorted(conf.rglob("*")):
        path = file.relative_to(conf)
        if file.is_file() and not file.name.startswith(_NOT_COPIED) and path.as_posix() not in catalogs:
            put(directory / path, file.read_bytes())
            yield directory / path
