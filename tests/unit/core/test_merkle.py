"""The Merkle tree against the definitions of RFC 9162, written as recursions over lists."""

import hashlib

import pytest

from lambda_app.core.merkle import (
    CompleteSubtree,
    GrowingRoot,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    leaf_hash,
    root_from_inclusion,
    root_of,
    tree_root,
)

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 64, 65]


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


def subtrees(leaves: list[bytes]) -> CompleteSubtree:
    return lambda level, index: defined_root(leaves[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", SIZES)
def test_roots_follow_the_definition(size: int) -> None:
    leaves, tree = leaves_of(size), GrowingRoot()
    for leaf in leaves:
        tree.append(leaf)

    assert defined_root(leaves) == root_of(leaves) == tree.root() == tree_root(subtrees(leaves), size)


def test_root_of_no_leaves_is_the_hash_of_nothing() -> None:
    assert root_of([]) == GrowingRoot().root() == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proof_leads_to_the_root_of_its_leaf_only(size: int) -> None:
    leaves = leaves_of(size)
    for index in range(size):
        proof = inclusion_proof(subtrees(leaves), index, size)
        assert root_from_inclusion(proof, leaves[index], index=index, size=size) == defined_root(leaves)
        assert root_from_inclusion(proof, leaf_hash(b"other"), index=index, size=size) != defined_root(leaves)
        assert root_from_inclusion([*proof, proof[0] if proof else leaves[0]], leaves[index], index=index, size=size) is None
        other = (index + 1) % size
        if other != index:
            assert root_from_inclusion(proof, leaves[index], index=other, size=size) != defined_root(leaves)
    assert root_from_inclusion([], leaves[0], index=size, size=size) is None
    with pytest.raises(ValueError, match="not in the tree"):
        inclusion_proof(subtrees(leaves), size, size)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_proof_accepts_only_the_start_of_the_tree(size: int) -> None:
    leaves = leaves_of(size)
    root = defined_root(leaves)
    for old_size in range(1, size + 1):
        old_root = defined_root(leaves[:old_size])
        proof = consistency_proof(subtrees(leaves), old_size, size)
        assert is_consistent(proof, old_size=old_size, old_root=old_root, size=size, root=root)
        assert not is_consistent(proof, old_size=old_size, old_root=leaf_hash(b"other"), size=size, root=root)
        assert not is_consistent(proof, old_size=old_size, old_root=old_root, size=size, root=leaf_hash(b"other"))
        assert not is_consistent([*proof, root], old_size=old_size, old_root=old_root, size=size, root=root)
