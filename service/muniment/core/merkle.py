"""Merkle trees over the ledger: one hash that stands for all rows, and short proofs about it.

The tree, its hashing and its proofs are those of RFC 6962, 2.1; how proofs are checked is
RFC 9162, 2.1.3.2 and 2.1.4.2. A tree only grows to the right, so a subtree that is full
never changes: the roots of some are kept, as in the tiles of C2SP (``tlog-tiles``), and a
proof in a tree of a billion leaves takes some thousand hashes to make, and thirty to check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: The bytes of one hash.
WIDTH: Final = 32

#: The height of a tile: it stands for 256 leaves, or for 256 tiles of the level below.
TILE_HEIGHT: Final = 8

#: MTH({}) (RFC 6962, 2.1).
EMPTY: Final = hashlib.sha256(b"").digest()

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

#: A full subtree: its height, over ``2 ** height`` leaves, and its index among those of its height.
Subtree = tuple[int, int]
#: The leaves from the first to the second, and without it.
Span = tuple[int, int]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry (RFC 6962, 2.1)."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side (RFC 6962, 2.1)."""
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tile:
    """The root of a full tile: of ``256 ** level`` leaves, the ``index``-th of its level."""

    level: int
    index: int
    root: bytes

    @property
    def end(self) -> int:
        """Behind its last leaf."""
        return self.index + 1 << TILE_HEIGHT * self.level if self.level >= 0 else 0


class Tree:
    """A tree that grows, by its right edge alone: the roots of its full subtrees, the largest first.

    What transparency logs call a compact range. :func:`subtrees` names the roots that a tree of some size has.
    """

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """A tree of so many leaves."""
        if size.bit_count() != len(roots):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(roots)}")
        self.size = size
        self._roots = list(roots)

    def copy(self) -> Tree:
        """The same tree, to grow apart from this one."""
        return Tree(self.size, self._roots)

    @property
    def root(self) -> bytes:
        """The hash of the whole tree (RFC 6962, 2.1)."""
        if not self._roots:
            return EMPTY
        found = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            found = node_hash(left, found)
        return found

    def grow(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Add leaves by their hashes; gives the tiles that became full, in the order in which they did."""
        # A million leaves pass here when a ledger is verified: what looks up nothing is quicker.
        roots, size, sha256 = self._roots, self.size, hashlib.sha256
        full: list[Tile] = []
        for leaf in leaves:
            root, rest, height = leaf, size, 0
            while rest & 1:
                root = sha256(_NODE + roots.pop() + root).digest()
                rest >>= 1
                height += 1
                if not height % TILE_HEIGHT:
                    full.append(Tile(height // TILE_HEIGHT, size >> height, root))
            roots.append(root)
            size += 1
        self.size = size
        return full


def subtrees(span: Span) -> list[Subtree]:
    """The full subtrees that leaves fall into, from left to right, each as large as it can be.

    ``span`` is one that the tree is divided into: it begins at a multiple of a power of two that is not smaller.
    """
    begin, end = span
    found = []
    while begin < end:
        height = (end - begin).bit_length() - 1
        found.append((height, begin >> height))
        begin += 1 << height
    return found


def root_of(span: Span, roots: Mapping[Subtree, bytes]) -> bytes:
    """The hash of the tree over these leaves alone, from the roots of its full subtrees."""
    *left, last = [roots[subtree] for subtree in subtrees(span)]
    for root in reversed(left):
        last = node_hash(root, last)
    return last


def inclusion_spans(index: int, size: int) -> list[Span]:
    """What the path of a leaf consists of (PATH; RFC 6962, 2.1.1): the leaves that each of its hashes stands for."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    spans: list[Span] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """What proves that a tree grew from another (PROOF; RFC 6962, 2.1.2): the leaves that each hash stands for."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} leaves is not the beginning of one of {second}")
    spans: list[Span] = []
    begin, end = 0, second
    while first != end:
        middle = begin + _largest_power_below(end - begin)
        if first <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    if begin:
        spans.append((begin, end))
    return spans[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root of the tree in which a leaf stands, by its path (RFC 9162, 2.1.3.2); None where it cannot be one."""
    if not 0 <= index < size:
        return None
    here, last, root = index, size - 1, leaf
    for hashed in path:
        if not last:
            return None
        if here & 1 or here == last:
            root = node_hash(hashed, root)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            root = node_hash(root, hashed)
        here, last = here >> 1, last >> 1
    return None if last else root


def proves_inclusion(leaf: bytes, index: int, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a path proves that the leaf stands at an index of the tree with this root."""
    return root_from_inclusion(leaf, index, size, path) == root


def proves_consistency(first: tuple[int, bytes], second: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the second tree, by size and root, grew from the first (RFC 9162, 2.1.4.2).

    Every tree grew from the empty one, and each from itself: no hash is needed.
    """
    (size, root), (later_size, later_root) = first, second
    if size > later_size or size < 0:
        return False
    if not size:
        return root == EMPTY and not proof
    if size == later_size:
        return root == later_root and not proof
    # A power of two is a subtree of the later tree, and its root is not repeated in the proof.
    hashes = [root, *proof] if size & (size - 1) == 0 else list(proof)
    if not hashes:
        return False
    here, last = size - 1, later_size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = hashes[0]
    for hashed in hashes[1:]:
        if not last:
            return False
        if here & 1 or here == last:
            old, new = node_hash(hashed, old), node_hash(hashed, new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, hashed)
        here, last = here >> 1, last >> 1
    return not last and old == root and new == later_root


def _largest_power_below(number: int) -> int:
    """The largest power of two smaller than a number that is greater than one (k in RFC 6962, 2.1)."""
    return 1 << (number - 1).bit_length() - 1
