"""Which publishers and routes a worker has. All consumers of a route are one worker's, so that books stay intervals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Worker ``index`` of ``count``."""

    index: int = 0
    count: int = 1

    def of(self, total: int) -> range:
        """Return which of so many publishers, devices or routes are this worker's."""
        return range(self.index, total, self.count)


WHOLE = Part()
