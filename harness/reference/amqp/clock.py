"""Time as the broker sees it. An asyncio event loop's own clock fits; tests bring one that they turn by hand."""

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that was asked for and may be called off."""

    def cancel(self) -> None:
        """Call it off."""


class Clock(Protocol):
    """What the broker needs of time; ``asyncio.AbstractEventLoop`` has it."""

    def time(self) -> float:
        """Return the present in seconds on a clock that never goes back."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call back after ``delay`` seconds."""
