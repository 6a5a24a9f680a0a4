"""Where the engine and Cedar do not say the same: as things stand, after changes, and until a listing ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from muniment.core.datasets import Dataset
from muniment.core.decisions import Decided, decide, decide_each, decide_governing, list_all
from muniment.core.realm import Realm
from muniment.core.schema import DATA_ACTIONS, GOVERNING_ACTIONS, Action
from muniment.core.subjects import SubjectState
from tests.core.generated_realms import asker_of, changes_of, wanted_of
from tests.core.oracle import UNDECLARED, Case, Oracle

#: How finely Cedar's moments are told apart.
TICK = timedelta(milliseconds=1)


def expected_of(case: Case) -> dict[str, Decided]:
    """What Cedar says of all data, declared and made."""
    datasets = list(case.resources.values())
    return Oracle(case.realm, case.asker, datasets).decided(datasets, case.wanted, case.at)


def differences(case: Case) -> list[str]:
    """Whatever is said of data, reasons and obligations included, by each way of asking."""
    realm, asker, wanted, at = case.realm, case.asker, case.wanted, case.at
    resources, expected = case.resources, expected_of(case)
    some = sorted(realm.datasets)[::3]
    few = list_all(realm, asker, wanted, at, only=some)
    together = decide_each(realm, asker, wanted, at, list(resources.values()))
    found = differences_of_listing(case, expected)
    found += [f"few {name}" for name in some if few.decided[name] != expected[name]]
    found += [f"each {n}" for n, d in zip(resources, together, strict=True) if d != expected[n]]
    found += [f"one {n}" for n in resources if decide(realm, asker, wanted, at, resources[n]) != expected[n]]
    found += [] if set(few.decided) == set(some) else ["few"]
    for action in DATA_ACTIONS:
        allowed = tuple(name for name in some if expected[name][action].allowed)
        found += [] if few.names(action) == allowed else [f"few names {action}"]
    return found


def differences_of_listing(case: Case, expected: Mapping[str, Decided]) -> list[str]:
    """What a listing says otherwise than is expected: each decision, who may do what, what may be used."""
    names = sorted(case.realm.datasets)
    listing = list_all(case.realm, case.asker, case.wanted, case.at)
    found = [f"list {name}" for name in names if listing.decided[name] != expected[name]]
    for action in DATA_ACTIONS:
        allowed = tuple(name for name in names if expected[name][action].allowed)
        found += [] if listing.names(action) == allowed else [f"names {action}"]
    usable = {name: expected[name].actions for name in names if expected[name].actions}
    found += [] if dict(listing.usable()) == usable else ["usable"]
    found += [] if sorted(listing.decided) == names else ["keys"]
    return found


def governing_differences(case: Case, actions: Sequence[Action] = GOVERNING_ACTIONS) -> list[str]:
    """The same for governing actions, on every domain and dataset and on domains that are not there."""
    oracle = Oracle(case.realm, case.asker)
    found: list[str] = []
    for action in actions:
        resources: list[str | Dataset] = ["all", *sorted(case.realm.domains), *UNDECLARED]
        if action is not Action.ADMINISTER:
            resources.extend(case.realm.datasets.values())
        answers = decide_governing(case.realm, case.asker, action, resources, case.at)
        expected = oracle.governing(action, resources, case.at)
        found += [f"{action} {r}" for r, a, e in zip(resources, answers, expected, strict=True) if a != e]
    return found


# --- after changes ---------------------------------------------------------------------------------


def differences_after_changes(random: Random, case: Case, revisions: int) -> list[str]:
    """What a realm changed again and again says otherwise than Cedar, than one built anew, or than it said before.

    Two ask in turn, before each change and after, so that there is much to be mended.
    """
    found: list[str] = []
    askers = [case.asker, asker_of(random)]
    standing = case.realm
    for revision in range(2, 2 + revisions):
        case = replace(case, wanted=wanted_of(random))
        before = [all_said(case, standing, asker) for asker in askers]
        changed = standing.after(revision, changes_of(random, standing))
        for asker, earlier in zip(askers, before, strict=True):
            said = all_said(case, changed, asker)
            found += [] if said == all_said(case, replace(changed), asker) else [f"{revision} otherwise than anew"]
            found += [] if earlier == all_said(case, standing, asker) else [f"{revision} the past has changed"]
            found += [f"{revision} {what}" for what in differences(replace(case, realm=changed, asker=asker))]
        standing = changed
    return found


def differences_of_futures(random: Random, case: Case) -> list[str]:
    """What two futures of one realm say otherwise than Cedar, each asked after the other was made."""
    all_said(case, case.realm, case.asker)
    futures = [case.realm.after(2, changes_of(random, case.realm)) for _ in range(2)]
    futures += [future.after(3, changes_of(random, future)) for future in futures]
    return [what for future in futures for what in differences(replace(case, realm=future))]


def all_said(case: Case, realm: Realm, asker: SubjectState) -> object:
    """All that is said to somebody: of every dataset and domain, made and declared, and until when."""
    resources = list(replace(case, realm=realm).resources.values())
    listing = list_all(realm, asker, case.wanted, case.at)
    governing = [
        decide_governing(realm, asker, action, [*sorted(realm.domains), *UNDECLARED, *resources], case.at)
        for action in (Action.DECLARE, Action.GRANT)
    ]
    each = decide_each(realm, asker, case.wanted, case.at, resources)
    return dict(listing.decided), listing.until, list(map(listing.names, DATA_ACTIONS)), each, governing


# --- until when ------------------------------------------------------------------------------------

_MOMENT = re.compile(r'datetime\("([^"]+)"\)')


def differences_over_time(random: Random, case: Case) -> list[str]:
    """The moments before its end at which a listing holds no more."""
    listing = list_all(case.realm, case.asker, case.wanted, case.at)
    datasets = list(case.realm.datasets.values())
    oracle, said = Oracle(case.realm, case.asker), dict(listing.decided)
    found = [] if listing.until is None or listing.until > case.at else ["ended before it began"]
    moments = _moments_before(random, case, listing.until)
    found += [f"{at} is before {listing.until}" for at in moments if oracle.decided(datasets, case.wanted, at) != said]
    return found


def _moments_before(random: Random, case: Case, until: datetime | None) -> list[datetime]:
    """Moments at which the listing is to hold: near its beginning, near its end, near what policies name, and any."""
    end = until or case.at + timedelta(days=400)
    midnight = case.at.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {midnight + timedelta(hours=hours) for hours in (9, 12, 24, 33, 36, 48)} | moments_named(case.realm)
    found = [case.at, case.at + TICK, end - timedelta(microseconds=1), end - TICK]
    found += [case.at + (end - case.at) * random.random() for _ in range(2)]
    found += [case.at + timedelta(days=random.randint(1, 30), hours=random.randint(0, 24))]
    found += [moment + step * TICK for moment in sorted(named) for step in (-1, 0, 1)]
    return [moment for moment in found if case.at <= moment < end]


def moments_named(realm: Realm) -> set[datetime]:
    """Every moment in the text of a policy."""
    policies = (*realm.policies.values(), *(grant.policy() for grant in realm.grants.values()))
    read = [datetime.fromisoformat(found) for policy in policies for found in _MOMENT.findall(policy.cedar)]
    return {moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in read}
