"""Credentials that a served definition names and the project may not define.

Kedro looks up the credentials of *all* entries when a catalog is made, so that one unknown name on a dataset
that nobody uses would stop every command. Here an unknown name gives a stand-in that refuses when the dataset
is built, and that shows, compares and pickles as its name only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from kedro.io import DatasetError
from typing_extensions import override


class Absent(Mapping[str, Any]):
    """Credentials that this project does not define. Any look inside is refused."""

    def __init__(self, name: str) -> None:
        self._name = name

    @override
    def __repr__(self) -> str:
        return f"<credentials {self._name!r}, not defined in this project>"

    def __bool__(self) -> bool:
        return True  # an empty mapping would be dropped, and the dataset would reach for ambient credentials

    def __deepcopy__(self, memo: object) -> Absent:
        return self

    @override
    def __reduce__(self) -> tuple[type[Absent], tuple[str]]:
        return Absent, (self._name,)

    @override
    def __getitem__(self, key: str) -> NoReturn:
        self._refuse()

    @override
    def __iter__(self) -> Iterator[str]:
        self._refuse()

    @override
    def __len__(self) -> int:  # noqa: PLE0303 - it never returns
        self._refuse()

    @override
    def __contains__(self, key: object) -> bool:
        self._refuse()

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Absent) and other._name == self._name

    @override
    def __hash__(self) -> int:
        return hash(self._name)

    def copy(self) -> Absent:
        return self

    def _refuse(self) -> NoReturn:
        raise DatasetError(
            f"This dataset is governed and needs the credentials {self._name!r}, which this project does not define. "
            f"Add {self._name!r} to conf/local/credentials.yml, or ask the dataset's owner what to put there."
        )


class Credentials(dict[str, Any]):
    """The project's own credentials; any other name is :class:`Absent` instead of an error."""

    def __missing__(self, name: str) -> Absent:
        return Absent(name)

    def __bool__(self) -> bool:
        return True  # Kedro drops an empty one, and the unknown names with it

    @override
    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self))})"
