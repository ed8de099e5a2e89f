"""Two countings of the same messages: what the broker counts and what the client counts differ once one is disturbed.

AMQP 0-9-1 numbers deliveries and publishes per channel (domain.delivery-tag); a message that the saboteur adds or
takes away shifts every later number, and settling must name the right ones all the same.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tags:
    """``near``: the numbers of the side that settles; ``far``: those of the side that is told, None for nobody."""

    count: int = 0  # given out on the near side
    disturbed: bool = False
    _open: dict[int, int | None] = field(default_factory=dict)

    def give(self, far: int | None) -> int:
        """Return the next near number for this far one."""
        self.count += 1
        self.disturbed = self.disturbed or far != self.count
        self._open[self.count] = far
        return self.count

    def settle(self, near: int, multiple: bool) -> list[tuple[int, int | None]]:
        """Return, and forget, the open pairs that this settles: near number and far one. 0 with multiple means all."""
        if not multiple:
            return [(near, self._open.pop(near))] if near in self._open else []
        chosen = [number for number in self._open if near == 0 or number <= near]
        return [(number, self._open.pop(number)) for number in chosen]
