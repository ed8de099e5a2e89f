"""What a probe finds out: rows of limits, and names for the little that it makes."""

import secrets
from dataclasses import asdict, dataclass
from typing import Any

MESSAGE_SIZES = (1 << 16, 1 << 18, 1 << 20, 4 << 20, 16 << 20)  # octets; a probe must not burden a broker


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit or ability. ``announced``: what the broker says; ``measured``: what it did when it was tried."""

    name: str
    announced: str
    measured: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return asdict(self)


class ProbeNames:
    """Names that nobody else uses, with a prefix that tells whose they are."""

    def __init__(self, prefix: str = "mqproof") -> None:
        self._prefix = prefix
        self._token = secrets.token_hex(4)
        self._count = 0

    def __call__(self, what: str = "name") -> str:
        """Return a new name of letters, digits and dashes."""
        self._count += 1
        return f"{self._prefix}-{what}-{self._token}-{self._count}"

    def client_id(self) -> str:
        """Return a new client id of at most 23 letters and digits."""
        self._count += 1
        return f"mqprobe{self._token}{self._count:x}"


def megabytes(octets: int) -> str:
    """Return a size for people: octets up to a MiB, then MiB where that is exact."""
    mebi, rest = divmod(octets, 1 << 20)
    return f"{mebi} MiB" if mebi and not rest else f"{octets} octets"
