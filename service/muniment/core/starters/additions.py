"""A package that is to be offered: what a manifest says of it, and what whoever looks after the folder does with that.

The service never writes into the folder: that is the platform team's, and is in git.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from muniment.core.problems import Fault, Invalid
from muniment.core.starters.offers import MANIFEST, Offer, Package, read_package
from muniment.core.yaml_texts import dumped

#: What a copy of the folder is called, in which a version is made.
_COPY: Final = "new-starters"
#: Where the folder is said to be as long as there is none.
USUAL_FOLDER: Final = "/etc/muniment/starters"
#: A version that is no alpha, beta or candidate.
_FINAL: Final = re.compile(r"([0-9]{1,6})(?:\.[0-9]{1,6}){0,3}")
_LONGEST: Final = 300
_REFUSED: Final = "The package cannot be offered like this; each place is listed."


@dataclass(frozen=True, slots=True)
class Addition:
    """A package, and how it comes into the next version of a folder: in a copy, since what stands there is offered.

    ``prepare`` makes that version, ``lines`` go into its ``manifest``; ``check`` says what comes of it, and ``place``
    offers it.
    """

    package: Package
    #: Whether a package of this name is offered already, which this one replaces.
    replaces: bool
    prepare: str
    manifest: str
    lines: str
    check: str
    place: str


def added(offer: Offer, folder: str, versions: Collection[int], said: Mapping[str, str], *, always: bool) -> Addition:
    """How a package comes into a folder that has these versions; raises :class:`Invalid` with what is wrong, by field.

    Without ``versions`` said, the package may move within the number that its version begins with.
    """
    package = _package(offer, said, always=always)
    number = max(versions, default=0) + 1
    made, there = f"{_COPY}/{number}", shlex.quote(folder)
    if versions:
        prepare = f"cp -r {there} {_COPY} && cp -r {_COPY}/{number - 1} {made}"
        check = f"muniment starters check {_COPY} --instead-of {there}"
        place = f"cp -r {made} {there}"
    else:
        prepare = f"mkdir -p {made}"
        check = f"muniment starters check {_COPY}"
        place = f"mkdir -p {there} && cp -r {made} {there}"
    entry = {
        "name": package.name,
        **({"title": package.title} if package.title != package.name else {}),
        **({"description": package.description} if package.description else {}),
        "group": package.group,
        "versions": package.versions,
        "pinned": package.pinned,
        **({"always": True} if package.always else {}),
    }
    return Addition(
        package=package,
        replaces=any(each.name == package.name for each in offer.packages),
        prepare=prepare,
        manifest=f"{made}/{MANIFEST}",
        lines=dumped({"packages": [entry]}),
        check=check,
        place=place,
    )


def _package(offer: Offer, said: Mapping[str, str], *, always: bool) -> Package:
    faults = [
        Fault(key, f"It has at most {_LONGEST} characters.") for key, text in said.items() if len(text) > _LONGEST
    ]
    if faults:
        raise Invalid(_REFUSED, faults)
    told: dict[str, object] = {key: text.strip() for key, text in said.items()}
    first = _FINAL.fullmatch(str(told["pinned"]))
    if not told["versions"] and first is not None:
        told["versions"] = f">={told['pinned']},<{int(first[1]) + 1}"
    elif not told["versions"]:
        faults.append(
            Fault("pinned", "It must be one version, such as 2.2.3; of another kind, say how it may move, too.")
        )
    if told["group"] not in {each.id for each in offer.groups}:
        faults.append(Fault("group", "There is no such group. Choose one of the list."))
    if faults:
        raise Invalid(_REFUSED, faults)
    try:
        return read_package("package", {**told, "always": always})
    except Invalid as refused:
        faults = [
            Fault(fault.at.rpartition(".")[2], _sentence(fault.message.partition(": ")[2])) for fault in refused.faults
        ]
        raise Invalid(_REFUSED, faults) from refused


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
