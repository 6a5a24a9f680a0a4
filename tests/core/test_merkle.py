"""Merkle trees are those of RFC 6962: against its words written out, and against other people's figures."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core import merkle
from muniment.core.merkle import Tree, leaf_hash

# --- RFC 6962, 2.1, as it is written: slow, and nothing of ours in it -------------------------------------------------


def mth(entries):
    match len(entries):
        case 0:
            return hashlib.sha256(b"").digest()
        case 1:
            return hashlib.sha256(b"\x00" + entries[0]).digest()
        case count:
            k = largest_power_below(count)
            return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m, entries):
    if len(entries) == 1:
        return []
    k = largest_power_below(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m, entries, whole):
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = largest_power_below(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def largest_power_below(count):
    k = 1
    while k * 2 < count:
        k *= 2
    return k


# ----------------------------------------------------------------------------------------------------------------------

#: The leaves and roots that the test suites of Certificate Transparency use.
LEAVES = [
    bytes.fromhex(each)
    for each in "- 00 10 2021 3031 40414243 5051525354555657 606162636465666768696a6b6c6d6e6f".replace("-", "").split(
        " "
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = {
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCIES = {
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

ENTRIES = [str(number).encode() for number in range(300)]
HASHED = [leaf_hash(entry) for entry in ENTRIES]


def grown(size):
    tree = Tree()
    tree.grow(HASHED[:size])
    return tree


def every_root(size):
    """The roots of all full subtrees of a tree."""
    roots = {(0, index): leaf for index, leaf in enumerate(HASHED[:size])}
    height = 0
    while size >> height > 1:
        for index in range(size >> height + 1):
            roots[height + 1, index] = merkle.node_hash(roots[height, 2 * index], roots[height, 2 * index + 1])
        height += 1
    return roots


KNOWN = every_root(300)


def inclusion(index, size):
    return [merkle.root_of(span, KNOWN) for span in merkle.inclusion_spans(index, size)]


def consistency(first, second):
    return [merkle.root_of(span, KNOWN) for span in merkle.consistency_spans(first, second)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size):
    tree = Tree()
    tree.grow([leaf_hash(entry) for entry in LEAVES[:size]])
    assert tree.root.hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), sorted(INCLUSIONS))
def test_paths_are_those_of_certificate_transparency(index, size):
    proof = [bytes.fromhex(each) for each in INCLUSIONS[index, size]]
    assert path(index, LEAVES[:size]) == proof
    root = bytes.fromhex(ROOTS[size])
    assert merkle.proves_inclusion(leaf_hash(LEAVES[index]), index, size, root, proof)


@pytest.mark.parametrize(("first", "second"), sorted(CONSISTENCIES))
def test_consistency_is_that_of_certificate_transparency(first, second):
    proof = [bytes.fromhex(each) for each in CONSISTENCIES[first, second]]
    assert subproof(first, LEAVES[:second], True) == proof
    roots = bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second])
    assert merkle.proves_consistency((first, roots[0]), (second, roots[1]), proof)


def test_every_tree_up_to_300_leaves_has_the_root_of_the_definition():
    tree = Tree()
    assert tree.root == mth([])
    for size in range(1, 301):
        tree.grow([HASHED[size - 1]])
        assert tree.root == mth(ENTRIES[:size]) if size < 40 or size % 37 == 0 else tree.root == grown(size).root
        assert merkle.root_of((0, size), KNOWN) == tree.root


def test_every_path_of_every_tree_up_to_300_leaves_proves_its_leaf():
    for size in range(1, 301):
        root = grown(size).root
        for index in range(0, size, 1 if size < 34 else 7):
            proof = inclusion(index, size)
            assert merkle.proves_inclusion(HASHED[index], index, size, root, proof)
            if size < 34:
                assert proof == path(index, ENTRIES[:size])


def test_every_two_trees_up_to_300_leaves_are_proved_to_be_one_that_grew():
    roots = [grown(size).root for size in range(301)]
    for second in range(1, 301):
        for first in range(1, second + 1, 1 if second < 34 else 11):
            proof = consistency(first, second)
            assert merkle.proves_consistency((first, roots[first]), (second, roots[second]), proof)
            if second < 34:
                assert proof == subproof(first, ENTRIES[:second], True)


SIZES = st.integers(1, 300)


@given(SIZES, st.data())
def test_no_other_leaf_index_size_or_path_is_proved(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion(index, size), grown(size).root
    other = data.draw(st.integers(0, 300))
    if other < 300 and other != index:
        assert not merkle.proves_inclusion(HASHED[other], index, size, root, proof)
        assert not merkle.proves_inclusion(HASHED[index], other, size, root, proof)
    assert not merkle.proves_inclusion(HASHED[index], index, size, root, [*proof, HASHED[0]])
    for place in range(len(proof)):
        assert not merkle.proves_inclusion(HASHED[index], index, size, root, proof[:place] + proof[place + 1 :])
        changed = [*proof[:place], HASHED[299], *proof[place + 1 :]]
        assert changed == proof or not merkle.proves_inclusion(HASHED[index], index, size, root, changed)


@given(SIZES, SIZES, st.data())
def test_no_other_beginning_is_proved(one, other, data):
    first, second = sorted((one, other))
    proof = consistency(first, second)
    roots = (first, grown(first).root), (second, grown(second).root)
    wrong = (first, mth([b"another"]))
    assert not merkle.proves_consistency(wrong, roots[1], proof)
    assert not merkle.proves_consistency(roots[0], (second, wrong[1]), proof) or roots[1][1] == wrong[1]
    assert not merkle.proves_consistency(roots[0], roots[1], [*proof, HASHED[0]])
    if proof:
        assert not merkle.proves_consistency(roots[0], roots[1], proof[:-1])
        assert not merkle.proves_consistency((first, wrong[1]), (second, wrong[1]), [wrong[1]] * len(proof))
    assert not merkle.proves_consistency(roots[1], roots[0], proof) or first == second


@given(st.lists(st.integers(0, 300), max_size=6))
def test_a_tree_that_grows_in_steps_is_the_one_that_grew_at_once(cuts):
    tree, begin = Tree(), 0
    for end in [*sorted(cuts), 300]:
        tree.grow(HASHED[begin:end])
        begin = end
        restored = Tree(end, [KNOWN[subtree] for subtree in merkle.subtrees((0, end))])
        assert restored.root == tree.root
    assert tree.root == grown(300).root


def test_each_tile_is_told_once_when_it_is_full():
    leaves = [number.to_bytes(32) for number in range(3 * 65_536 + 300)]
    tree, told = Tree(), []
    told += tree.grow(leaves[:1000])
    told += tree.grow(leaves[1000:])
    level_1 = [each for each in told if each.level == 1]
    level_2 = [each for each in told if each.level == 2]
    assert [each.index for each in level_1] == list(range(len(leaves) // 256))
    assert [each.index for each in level_2] == [0, 1, 2]
    assert len(told) == len(level_1) + len(level_2)
    for each in (level_1[0], level_1[1], level_1[-1]):
        own = Tree()
        own.grow(leaves[each.index * 256 : each.index * 256 + 256])
        assert each.root == own.root
    own = Tree()
    own.grow(each.root for each in level_1[256:512])
    assert level_2[1].root == own.root
