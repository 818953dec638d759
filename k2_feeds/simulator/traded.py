"""Which trades a simulated exchange made, and which of them it sent, as ranges of ids."""

from __future__ import annotations

from collections.abc import Iterable


class Ranges:
    """A set of ids that mostly follow each other: ``[[first, last], ...]`` in order of arrival."""

    def __init__(self) -> None:
        self.ranges: list[list[int]] = []

    def add(self, number: int) -> None:
        """Add an id."""
        if self.ranges and number == self.ranges[-1][1] + 1:
            self.ranges[-1][1] = number
        else:
            self.ranges.append([number, number])

    def add_all(self, numbers: Iterable[int]) -> None:
        """Add ids."""
        for number in numbers:
            self.add(number)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)
