"""The plan that divides a large file into parts (S3: at most 10,000 parts, each except the last from 5 MiB to 5 GiB)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

MIB = 1024**2
PART_MIN_BYTES = 8 * MIB
"""Smallest planned part. S3 accepts 5 MiB, but smaller parts mean more requests."""
PART_MAX_BYTES = 5 * 1024**3
"""Largest part that S3 accepts."""
PARTS_MAX_COUNT = 10_000
"""Largest number of parts that S3 accepts."""
MULTIPART_MAX_BYTES = PART_MAX_BYTES * PARTS_MAX_COUNT
"""Largest object that a multipart upload can create: 48.8 TiB."""


class Part(Protocol):
    """An uploaded part, as `PartPlan.missing` needs it."""

    @property
    def number(self) -> int:
        """Part number, from 1."""
        ...

    @property
    def size_bytes(self) -> int:
        """Length of the part."""
        ...


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Each part has `part_size_bytes`, except the last, which has the remaining bytes."""

    size_bytes: int
    part_size_bytes: int

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.size_bytes // self.part_size_bytes)

    def length_of(self, number: int) -> int | None:
        """Return the length of a part, None for an invalid part number."""
        if not 1 <= number <= self.count:
            return None
        return min(self.part_size_bytes, self.size_bytes - (number - 1) * self.part_size_bytes)

    def missing(self, parts: Iterable[Part]) -> list[int]:
        """Return the numbers of the parts that are missing from `parts` or do not have the planned length."""
        sizes = {part.number: part.size_bytes for part in parts}
        return [number for number in range(1, self.count + 1) if sizes.get(number) != self.length_of(number)]


def plan_parts(size_bytes: int) -> PartPlan:
    """Return the plan for a file of 1 to MULTIPART_MAX_BYTES bytes, with the smallest part size (in whole MiB) that the limits allow."""
    if not 0 < size_bytes <= MULTIPART_MAX_BYTES:
        raise ValueError(f"The size must be from 1 to {MULTIPART_MAX_BYTES} bytes, not {size_bytes}")
    whole_mib = -(-size_bytes // (PARTS_MAX_COUNT * MIB)) * MIB
    return PartPlan(size_bytes, min(max(PART_MIN_BYTES, whole_mib), PART_MAX_BYTES))
