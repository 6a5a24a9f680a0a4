"""What an answer stands on: all of a realm that has a part in what is decided for one subject.

A change of somebody else's rules makes another realm, and of this subject it decides as before. That is told without
deciding again: whatever is decided for a subject follows from the rules that may concern it
(:meth:`Realm.rules_for`) and from the nouns beside the rules. Where both are the very same, so is every answer, until
its own moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muniment.core.decisions import scene_of
from muniment.core.realm import Realm
from muniment.core.rules import Rule
from muniment.core.shelves import Uid
from muniment.core.subjects import SubjectState


@dataclass(frozen=True, slots=True, eq=False)
class Footing:
    """What decisions about one subject are made from; it holds no realm, and so keeps none in memory.

    ``above`` are the subject and all groups that it is in: those follow from its state and from the ``ground``.
    """

    above: frozenset[Uid]
    ground: object
    rules: Sequence[Rule]

    @classmethod
    def of(cls, realm: Realm, asker: SubjectState) -> Footing:
        """What is decided from for a subject, in the state that it is known in."""
        above = scene_of(realm, asker, {}).principal.above
        return cls(above, realm.ground, realm.rules_for(above))

    def bears_in(self, realm: Realm) -> bool:
        """Whether all that was decided on it would be decided so in another realm.

        Rules are compared by identity: one that was changed is another one, and so is one that was put back.
        """
        return realm.ground is self.ground and realm.rules_for(self.above) == self.rules

    @property
    def size(self) -> int:
        """About how many bytes it takes; rules and groups are shared with the realm."""
        return 256 + 8 * len(self.rules) + 64 * len(self.above)
