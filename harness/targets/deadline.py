"""A moment by which something has to be done; every step on the way to a target takes what is left of it."""

import time
from dataclasses import dataclass
from typing import Self

from mqproof.harness.patience import patience


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock."""

    moment: float

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Return the deadline in ``seconds``, scaled by the user's patience."""
        return cls(time.monotonic() + patience.seconds(seconds))

    def sooner(self, seconds: float) -> "Deadline":
        """Return the deadline in ``seconds`` (scaled), or this one where it comes first."""
        return Deadline(min(self.moment, time.monotonic() + patience.seconds(seconds)))

    @property
    def left(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, self.moment - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the moment has passed."""
        return self.left == 0.0
