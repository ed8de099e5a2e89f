"""What a load run is told. It travels to the load process as JSON, password included, through a pipe only."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from mqproof.harness.targets.target import Target, Tls, parse_url
from mqproof.loadtests.messages import SMALLEST

WELCOME_EMAIL = "welcome-email"


class BadSettings(ValueError):
    """Settings that contradict each other or the target; one line that says what and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run of one scenario. Times in seconds, sizes in octets, rates in messages per second."""

    scenario: str
    url: str
    users: int = 10
    duration: float = 10.0
    rate: float = 10.0  # welcome-email: registrations of each user; the others: all messages, 0 as fast as it goes
    payload: int = 256
    work: float = 0.02  # how long sending the e-mail takes, simulated
    workers: int = 10
    qos: int = 1  # MQTT
    confirm: bool = True  # AMQP publisher confirms
    prefetch: int = 10  # AMQP
    queues: int = 1
    persistent: bool = False  # AMQP
    queue_type: str = ""  # AMQP x-queue-type
    window: int = 0  # in flight at most where there is no rate; 0: as the scenario thinks right
    max_qos: int = 2  # what the broker grants (MQTT)
    product: str = ""  # what the broker calls itself
    prefix: str = "mqproof"
    ca_file: str | None = None
    insecure: bool = False
    show_progress: bool = False

    def __post_init__(self) -> None:
        slowest = 0.01 if self.scenario == WELCOME_EMAIL else 0.0
        bounds = {"users": (1, 10_000), "duration": (0.1, 86_400), "rate": (slowest, 10_000_000),
                  "workers": (1, 1_000), "queues": (1, 1_000), "window": (0, 1_000_000),
                  "payload": (SMALLEST, 16 << 20), "work": (0, 60), "qos": (0, 2), "prefetch": (1, 65_535)}  # fmt: skip
        for name, (lowest, highest) in bounds.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise BadSettings(f"--{name.replace('_', '-')} must be from {lowest} to {highest}, not {value}")

    @property
    def target(self) -> Target:
        """The broker to load."""
        tls = Tls(None if self.ca_file is None else _path(self.ca_file), self.insecure)
        return parse_url(self.url, tls=tls)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON carries it."""
        return asdict(self)

    def shown(self) -> dict[str, Any]:
        """Return it as a report may show it: without the URL and what is only ours to know."""
        hidden = {"url", "show_progress", "ca_file"}
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in hidden}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the settings that :meth:`plain` described."""
        return cls(**data)


def _path(text: str) -> Any:
    from pathlib import Path

    return Path(text)
