"""What is offered, in words: each part by itself, and what one offer has that another has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from muniment.core.starters.offers import Choice, Offer, Package

#: A list and an id in it.
Key = tuple[str, str]


class Sign(StrEnum):
    """What becomes of a part."""

    ADDED = "+"
    CHANGED = "~"
    REMOVED = "-"


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that is not the same in two offers, as it is then, or was."""

    sign: Sign
    key: Key
    said: str


def told(offer: Offer) -> Mapping[Key, str]:
    """Every part of an offer by its list and id, each in a few words; templates say nothing but that they are there."""
    return {
        **{("kedro", each): _first(each, offer.kedro) for each in offer.kedro},
        **{("python", each): _first(each, offer.python) for each in offer.python},
        **{("pins", name): version for name, version in offer.pins.items()},
        **_choices("starters", offer.starters),
        **_choices("tools", offer.tools),
        **_choices("ci", offer.ci),
        **{("groups", each.id): f"{each.title}{', one of it' if each.exclusive else ''}" for each in offer.groups},
        **{("packages", each.name): _package(each) for each in offer.packages},
        **{key: "" for key in sorted(offer.brought) if key[0] == "templates"},
    }


def differences(before: Offer, now: Offer) -> Iterator[Difference]:
    """What is not the same, in the order of the lists; of templates those of the platform team, by what they hold."""
    was, will = told(before), told(now)
    for key in dict.fromkeys([*will, *was]):
        if key not in was:
            yield Difference(Sign.ADDED, key, will[key])
        elif key not in will:
            yield Difference(Sign.REMOVED, key, was[key])
        elif was[key] != will[key] or _texts(before, key) != _texts(now, key):
            yield Difference(Sign.CHANGED, key, will[key])


def _texts(offer: Offer, key: Key) -> Sequence[str | None]:
    """What a template holds for each starter that has it; nothing for whatever is no template."""
    if key[0] != "templates":
        return ()
    folder, _, path = key[1].partition("/")
    return [held.get(path) for starter, held in offer.templates.items() if folder in {starter, "base"}]


def _first(each: str, offered: Sequence[str]) -> str:
    return "taken if nothing is said" if each == offered[0] else ""


def _choices(key: str, listed: Sequence[Choice]) -> Mapping[Key, str]:
    return {(key, each.id): f"{each.title}{': ' if each.description else ''}{each.description}" for each in listed}


def _package(package: Package) -> str:
    always = ", in every project" if package.always else ""
    return f"{package.pinned} ({package.versions}), in {package.group}{always}"
