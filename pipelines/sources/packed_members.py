"""Members of an archive that a link later on may name, in some thirty bytes each."""

import array
from collections.abc import Sequence
from typing import overload

from beamscribe.pipelines.work.work_item import Member


class PackedMembers(Sequence[Member]):
    """A list of members that makes each when it is asked for; their places are not kept."""

    def __init__(self) -> None:
        self._starts, self._sizes, self._checks = array.array("Q"), array.array("Q"), bytearray()
        self._others: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._other_of = array.array("L")

    def append(self, member: Member) -> int:
        """Adds one and gives its number."""
        self._starts.append(member.start)
        self._sizes.append(member.size)
        self._checks += bytes.fromhex(member.check).ljust(6, b"\0")
        # Members of a tar share kind and detail, which is empty.
        other = (member.kind, member.detail)
        number = self._numbers.get(other)
        if number is None:
            number = len(self._others)
            self._others.append(other)
            if not member.detail:
                self._numbers[other] = number
        self._other_of.append(number)
        return len(self._starts) - 1

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> Member: ...
    @overload
    def __getitem__(self, place: slice) -> list[Member]: ...
    def __getitem__(self, place: int | slice) -> Member | list[Member]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        kind, detail = self._others[self._other_of[place]]
        check = self._checks[6 * place : 6 * place + 6].hex()
        return Member(kind, 0, self._starts[place], self._sizes[place], detail, check)
