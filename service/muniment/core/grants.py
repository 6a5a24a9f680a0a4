"""Grants: who may do what to what, until when, and why.

A grant *is* a Cedar policy, made from the simplest of forms (:mod:`muniment.core.forms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Literal

from muniment.core.forms import Form
from muniment.core.names import domain_of
from muniment.core.policies import Policy
from muniment.core.schema import Action


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may do what to what, until when, and why.

    ``to`` is a group's id, or a subject written as its built-in group (``user:ann``).
    ``on`` is a domain or a dataset. A grant without ``until`` says in ``because`` why it
    does not end. ``review_by`` is the day by which somebody looks whether it is still needed.
    """

    id: str
    to: str
    actions: frozenset[Action]
    on: str
    environments: frozenset[str] = frozenset()
    until: datetime | None = None
    because: str = ""
    version: int = 0
    #: What ``on`` names: the names of domains and datasets share a grammar.
    kind: Literal["dataset", "domain"] = "domain"
    review_by: date | None = None
    purposes: frozenset[str] = frozenset()

    @property
    def scope(self) -> str:
        """The domain in which this grant acts."""
        return domain_of(self.on) if self.on_dataset else self.on

    @property
    def on_dataset(self) -> bool:
        """Whether one dataset is meant."""
        return self.kind == "dataset"

    def policy(self) -> Policy:
        """The Cedar policy that this grant is."""
        return _policy(self)


@lru_cache(maxsize=20_000)
def _policy(grant: Grant) -> Policy:
    form = Form(
        principals=(grant.to,),
        actions=grant.actions,
        names=(grant.on,) if grant.on_dataset else (),
        domains=() if grant.on_dataset else (grant.on,),
        environments=grant.environments,
        purposes=grant.purposes,
        valid_to=grant.until,
    )
    return Policy(
        f"grant:{grant.id}",
        form.cedar(),
        scope=grant.scope,
        reason=grant.because,
        review_by=grant.review_by,
        version=grant.version,
    )
