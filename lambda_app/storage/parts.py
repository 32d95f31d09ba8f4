"""How a large file is cut into parts (S3: at most 10,000 of them, each but the last from 5 MiB to 5 GiB)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

MIB = 1024**2
PART_MIN_BYTES = 8 * MIB
"""Our smallest part: S3 takes 5 MiB, but small parts are many requests."""
PART_MAX_BYTES = 5 * 1024**3
"""S3's largest part."""
PARTS_MAX_COUNT = 10_000
"""S3's largest number of parts."""
MULTIPART_MAX_BYTES = PART_MAX_BYTES * PARTS_MAX_COUNT
"""The largest object that parts can make: 48.8 TiB."""


class Part(Protocol):
    """What a plan asks of a part."""

    @property
    def number(self) -> int:
        """From 1."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its length."""
        ...


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Every part has `part_size_bytes` but the last, which has the rest."""

    size_bytes: int
    part_size_bytes: int

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.size_bytes // self.part_size_bytes)

    def length_of(self, number: int) -> int | None:
        """Return the length of a part, None for a number that no part has."""
        if not 1 <= number <= self.count:
            return None
        return min(self.part_size_bytes, self.size_bytes - (number - 1) * self.part_size_bytes)

    def missing(self, parts: Iterable[Part]) -> list[int]:
        """Return the numbers whose part is not there, or not of the planned length."""
        held = {part.number: part.size_bytes for part in parts}
        return [number for number in range(1, self.count + 1) if held.get(number) != self.length_of(number)]


def plan_parts(size_bytes: int) -> PartPlan:
    """Return the plan for a file of 1 to MULTIPART_MAX_BYTES bytes: whole MiB, as small as the number of parts allows."""
    if not 0 < size_bytes <= MULTIPART_MAX_BYTES:
        raise ValueError(f"not a size that parts can make: {size_bytes}")
    whole_mib = -(-size_bytes // (PARTS_MAX_COUNT * MIB)) * MIB
    return PartPlan(size_bytes, min(max(PART_MIN_BYTES, whole_mib), PART_MAX_BYTES))
