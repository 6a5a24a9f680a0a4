"""Whether what is declared can be served where it stands: types, paths, variables.

A definition is checked when it is declared, and again when a domain or an environment
that it depends on changes: its locations, its types, or what its variables stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from muniment.core.dataset_types import KnownTypes
from muniment.core.datasets import Dataset, Definition
from muniment.core.definitions import check, path_variables_of, variables_of, with_variables
from muniment.core.environments import BASE
from muniment.core.locations import parse_location, reach, safe_in_path
from muniment.core.names import lineage
from muniment.core.places import Places, Written, spelled
from muniment.core.problems import Fault, Invalid, InvalidDefinition
from muniment.core.realm import Realm
from muniment.core.subjects import SubjectState
from muniment.core.visibility import find_each

#: How many datasets are named in a refusal.
_NAMED = 10


def faults_of_definitions(realm: Realm, types: KnownTypes, proposed: Dataset) -> Iterable[Fault]:
    """What is wrong with a dataset's definitions where its domain stands now: types, paths, variables.

    Each is checked as it is written, and again as it is served in each environment: the
    values of variables are nobody's until they stand in a place.
    """
    placed = {name: [parse_location(text) for text in domain.locations] for name, domain in realm.domains.items()}
    locations, foreign = reach(proposed.domain, placed)
    types = types.registering(realm.types_of(proposed.domain))

    def faults(definition: Definition, at: str) -> list[Fault]:
        return check(definition, name=proposed.name, types=types, locations=locations, foreign=foreign, at=at)

    for environment, definition in sorted(proposed.environments.items()):
        at = f"environments.{environment}"
        found = faults(definition, at)
        yield from found
        if not found and variables_of(definition):
            for served in _served_by(realm, proposed, environment):
                variables = realm.variables_of(proposed.domain, served)
                yield from _faults_when_filled(types, definition, variables, faults, f"{at} (in {served})")


def _served_by(realm: Realm, proposed: Dataset, environment: str) -> Iterable[str]:
    """The environments in which a definition is the one in force."""
    if environment != BASE:
        return (environment,)
    return (name for name in realm.environment_names if name not in proposed.environments)


def _faults_when_filled(
    types: KnownTypes,
    definition: Definition,
    variables: Mapping[str, str],
    faults: Callable[[Definition, str], list[Fault]],
    at: str,
) -> list[Fault]:
    unsafe = [
        Fault(at, f"The variable {name} stands in a path; its value could leave it.")
        for name in sorted(path_variables_of(definition, types))
        if name in variables and not safe_in_path(variables[name])
    ]
    try:
        return unsafe or faults(with_variables(definition, variables), at)
    except InvalidDefinition as refused:
        return [Fault(at, refused.detail)]


def check_sound(types: KnownTypes, before: Realm, after: Realm, asker: SubjectState, at: datetime) -> None:
    """Refuse a change of domains or environments by which some dataset's definition would no longer be sound.

    Only what the change can reach is looked at, only what it breaks is its fault, and
    only what the asker may know of, or has put in the same change, is named.
    """
    if before.domains is after.domains and before.environments is after.environments:
        return
    broken = {
        name: found[0]
        for name in sorted(_reached(types, before, after))
        if (found := _newly_wrong(types, before, after, after.datasets[name]))
    }
    if not broken:
        return
    known = find_each(before, asker, at, broken)
    told = [
        Fault(name, fault.message)
        for name, fault in broken.items()
        if known[name] is not None or before.datasets.get(name) is not after.datasets[name]
    ]
    if not told:
        message = "A dataset that you may not know of would no longer be sound."
        raise Invalid(message, [Fault("", message)])
    count = "One dataset" if len(told) == 1 else f"{len(told)} datasets"
    message = f"{count} would no longer be sound, the first: {told[0].at}: {told[0].message}"
    raise Invalid(message, told[:_NAMED])


def _newly_wrong(types: KnownTypes, before: Realm, after: Realm, dataset: Dataset) -> list[Fault]:
    found = list(faults_of_definitions(after, types, dataset))
    stood = before.datasets.get(dataset.name) is dataset
    standing = set(faults_of_definitions(before, types, dataset)) if found and stood else set()
    return [fault for fault in found if fault not in standing]


def _reached(types: KnownTypes, before: Realm, after: Realm) -> Iterable[str]:
    """The datasets below a changed domain, those that use variables, and those on a place that is another's now.

    Drafts and what was retired are served to nobody, and are checked when they are declared again.
    """
    domains = {name for name, domain in after.domains.items() if before.domains.get(name) is not domain}
    variables = before.environments is not after.environments
    added = _added_locations(before, after)
    places = Places(after, Written(types))
    for name, dataset in after.datasets.items():
        if not dataset.served:
            continue
        below = not domains.isdisjoint(lineage(dataset.domain))
        filled = variables and variables_of(dataset.environments)
        if below or filled or (added and any(_meets(place, new) for place in places.of(dataset) for new in added)):
            yield name


def _added_locations(before: Realm, after: Realm) -> Sequence[str]:
    """The locations that a change gives, spelled as places are."""
    return [
        f"{spelled(text)}/"
        for name, domain in after.domains.items()
        if domain is not before.domains.get(name)
        for text in set(domain.locations).difference(before.domains[name].locations if name in before.domains else ())
    ]


def _meets(place: str, location: str) -> bool:
    """Whether a place may lie in a location or around it, whatever its placeholders are filled with."""
    fixed = place.partition("{")[0]
    return f"{fixed}/".startswith(location) or location.startswith(fixed)
