"""The Merkle tree of RFC 9162, section 2.1: roots, inclusion proofs and consistency proofs."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32

CompleteSubtree = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree over the leaves `index * 2**level` to `(index + 1) * 2**level - 1`."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf with this content."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the given leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        # The last one of an odd number moves up unchanged.
        level = [*map(node_hash, level[::2], level[1::2]), *(level[-1:] if len(level) % 2 else [])]
    return level[0]


class GrowingRoot:
    """The root of a growing tree. It holds one hash per bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash at the end."""
        rest = self.size
        while rest & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            rest >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._peaks:
            return root_of([])
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def tree_root(subtree: CompleteSubtree, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return _range_hash(subtree, 0, size) if size else root_of([])


def inclusion_proof(subtree: CompleteSubtree, index: int, size: int) -> list[bytes]:
    """Return the inclusion proof of a leaf (section 2.1.3.1). Raises ValueError for a leaf outside the tree."""
    if not 0 <= index < size:
        raise ValueError("The leaf is not in the tree")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(subtree, middle, end))
            end = middle
        else:
            proof.append(_range_hash(subtree, start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(subtree: CompleteSubtree, old_size: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `old_size` leaves is the start of the tree of `size` leaves (section 2.1.4.1)."""
    if not 0 < old_size <= size:
        raise ValueError("The older tree must not be empty or larger than the newer one")
    proof: list[bytes] = []
    start, end, is_whole = 0, size, True
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_range_hash(subtree, middle, end))
            end = middle
        else:
            proof.append(_range_hash(subtree, start, middle))
            start, is_whole = middle, False
    if not is_whole:
        proof.append(_range_hash(subtree, start, end))
    return proof[::-1]


def root_from_inclusion(proof: Iterable[bytes], leaf: bytes, *, index: int, size: int) -> bytes | None:
    """Return the root that follows from an inclusion proof (section 2.1.3.2); None if the proof has the wrong length."""
    if not 0 <= index < size:
        return None
    number, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if number & 1 or number == last:
            root = node_hash(sibling, root)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        number, last = number >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(proof: Sequence[bytes], *, old_size: int, old_root: bytes, size: int, root: bytes) -> bool:
    """Whether the proof shows that the older tree is the start of the newer one (section 2.1.4.2)."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    number, last = old_size - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and (old, new) == (old_root, root)


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(subtree: CompleteSubtree, start: int, end: int) -> bytes:
    """Return the hash over the leaves `start` to `end - 1`, where `start` is a multiple of the next power of two."""
    count = end - start
    if count & (count - 1) == 0:
        return subtree(count.bit_length() - 1, start // count)
    middle = start + _split(count)
    return node_hash(_range_hash(subtree, start, middle), _range_hash(subtree, middle, end))
