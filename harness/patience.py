"""One factor for every deadline: ``--patience 3`` triples them, for a slow broker or a busy machine."""


class Patience:
    """Scales deadlines. Deadlines bound how long we wait for what should come; they are no measurements."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def seconds(self, base: float) -> float:
        """Return ``base`` seconds scaled by the factor."""
        return base * self.factor


patience = Patience()
