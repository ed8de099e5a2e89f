"""Names of what a load makes: the user's prefix, the thing, a token of the run, the stage; the same on all workers."""

import secrets


class Names:
    """One run's names. ``client_id`` has at most 23 letters and digits (MQTT 3.1.1 section 3.1.3.1)."""

    def __init__(self, prefix: str, token: str = "", stage: int = 0) -> None:
        self.prefix, self.token, self.stage = prefix, token or secrets.token_hex(4), stage

    def __call__(self, what: str) -> str:
        """Return the name of a queue, an exchange or the first level of topics."""
        return f"{self.prefix}-load-{what}-{self.token}-{self.stage}"

    def client_id(self, role: str, number: int) -> str:
        """Return the client id of one connection; ``role``: a letter that is no hexadecimal digit."""
        return f"mqp{self.token}{self.stage:x}{role}{number:x}"

    def of_stage(self, stage: int) -> "Names":
        """Return the names of another stage of this run."""
        return Names(self.prefix, self.token, stage)
