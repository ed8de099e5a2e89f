"""What a load run is told. It travels to the load process as JSON, password included, through a pipe only."""

import base64
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from mqproof.harness.targets.target import Target, Tls, parse_url
from mqproof.loadtests.messages import SMALLEST

WELCOME_EMAIL = "welcome-email"
Role = Literal["local", "master", "worker"]
# What is ours to know and nobody's to read in a result; or to send to a worker on another machine.
HIDDEN = {
    "url", "show_progress", "ca_file", "stats_url", "web_port", "web_host", "metrics_port", "html", "trace", "role",
    "master_host", "master_port", "expect_workers", "template", "token",
}  # fmt: skip
ALWAYS = {"rate", "qos", "work", "confirm", "persistent", "requeue"}  # are shown also where they are 0
BOUNDS = {
    "users": (1, 100_000), "duration": (0.1, 30 * 86_400), "workers": (1, 10_000), "queues": (1, 10_000),
    "window": (0, 1_000_000), "payload": (SMALLEST, 16 << 20), "work": (0, 60), "qos": (0, 2),
    "prefetch": (1, 65_535), "ramp": (0, 86_400), "connect_rate": (0, 1_000_000), "max_unconfirmed": (0, 32_768),
    "multi_ack": (0, 65_535), "nack_every": (0, 1_000_000), "poll": (0, 60), "keep_alive": (0, 65_535),
    "processes": (1, 256), "consumer_rate": (0, 1_000_000), "max_qos": (0, 2), "expect_workers": (1, 1000),
    "web_port": (0, 65_535), "metrics_port": (0, 65_535), "master_port": (1, 65_535),
}  # fmt: skip


# A part of queues' names and of topics: no wildcard, and not what brokers keep for themselves.
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")


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
    schedule: list[list[float]] = field(default_factory=list)  # (seconds, rate) one after the other
    sizes: list[int] = field(default_factory=list)  # payloads of several sizes, in turn
    template: str = ""  # base64 of what fills payloads
    properties: dict[str, Any] = field(default_factory=dict)  # AMQP
    queue_arguments: dict[str, Any] = field(default_factory=dict)  # AMQP
    exchange: str = ""  # AMQP exchange type
    ramp: float = 0.0
    connect_rate: float = 0.0
    max_unconfirmed: int = 0
    multi_ack: int = 0
    nack_every: int = 0  # AMQP
    requeue: bool = True
    poll: float = 0.0  # AMQP basic.get
    consumer_rate: float = 0.0  # of each consumer; 0: as fast as it goes
    shared: bool = False  # MQTT shared subscription
    keep_alive: int = 0
    mqtt_version: str = ""  # 3.1.1 or 5.0
    processes: int = 1
    role: Role = "local"
    master_host: str = "127.0.0.1"
    master_port: int = 5557
    expect_workers: int = 1
    web_port: int = 0  # Locust's web UI; 0: none
    web_host: str = "127.0.0.1"
    metrics_port: int = 0  # Prometheus; 0: none
    stats_url: str = ""  # the broker's own statistics
    html: str = ""  # where Locust's own report goes
    trace: str = ""  # folder of the traces
    token: str = ""
    workload: dict[str, Any] = field(default_factory=dict)
    max_qos: int = 2  # what the broker grants (MQTT)
    product: str = ""  # what the broker calls itself
    capabilities: list[str] = field(default_factory=list)
    prefix: str = "mqproof"
    ca_file: str | None = None
    insecure: bool = False
    show_progress: bool = False

    def __post_init__(self) -> None:
        slowest = 0.01 if self.scenario == WELCOME_EMAIL else 0.0
        for name, (lowest, highest) in {**BOUNDS, "rate": (slowest, 10_000_000)}.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise BadSettings(f"--{name.replace('_', '-')} must be from {lowest} to {highest}, not {value}")
        if not PREFIX.fullmatch(self.prefix) or self.prefix.startswith("amq."):
            raise BadSettings(
                f"--prefix {self.prefix!r}: 64 letters, digits, . _ : / or - at most, a letter or digit first, not amq."
            )

    @property
    def target(self) -> Target:
        """The broker to load."""
        tls = Tls(None if self.ca_file is None else Path(self.ca_file), self.insecure)
        target = parse_url(self.url, tls=tls)
        return target.with_(product=self.product, capabilities=frozenset(self.capabilities))

    @property
    def filling(self) -> bytes:
        """What fills payloads behind their stamps; zeros where empty."""
        return base64.b64decode(self.template)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON carries it."""
        return asdict(self)

    def shown(self) -> dict[str, Any]:
        """Return it as a report may show it: without the URL, what is only ours to know, and what was not asked for."""
        return {
            entry.name: value
            for entry in fields(self)
            if entry.name not in HIDDEN and ((value := getattr(self, entry.name)) or entry.name in ALWAYS)
        }

    def for_workers(self) -> dict[str, Any]:
        """Return what a worker has to know that has the target from its own command line."""
        mine = {*HIDDEN, "insecure", "ca_file"} - {"template", "token"}
        return {name: value for name, value in asdict(self).items() if name not in mine}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Return the settings that :meth:`plain` described."""
        return cls(**data)
