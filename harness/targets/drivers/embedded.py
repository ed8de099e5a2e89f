"""The driver ``embedded``: mqproof's own reference brokers for AMQP 0-9-1 and MQTT, which need nothing but Python.

Option ``defects`` (names, comma-separated) makes them break rules on purpose, ``certificates`` (a folder) makes them
speak TLS; every other option is one of theirs.
"""

import os
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from mqproof.harness.targets.drivers.base import Availability, LocalBroker, Server, environment, reserve
from mqproof.harness.targets.drivers.certificates import CERTIFICATE, KEY, tls_of
from mqproof.harness.targets.drivers.launch import LaunchingDriver
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.target import Target


class Embedded(LaunchingDriver):
    """Starts one process per protocol."""

    name = "embedded"
    protocols = ("amqp", "mqtt")

    def availability(self) -> Availability:
        """Return mqproof's own version: these brokers are part of it."""
        return Availability(True, version("mqproof"))

    def prepare(
        self, protocols: tuple[str, ...], folder: Path | None, options: dict[str, str], version: str
    ) -> LocalBroker:
        """Return the brokers, one process per protocol; everything is in memory and lost by a restart."""
        servers = [_server(protocol, folder and folder / protocol, options) for protocol in protocols]
        return EmbeddedBroker(self.name, servers)


class EmbeddedBroker(LocalBroker):
    """The reference brokers, which take an alarm as a signal."""

    def alarm(self, raised: bool) -> None:
        """Make the AMQP broker say that it is short of memory, or that this is over."""
        for server in self.servers:
            if server.process.pid and server.targets[0].protocol == "amqp":
                os.kill(server.process.pid, signal.SIGUSR1 if raised else signal.SIGUSR2)


def _server(protocol: str, folder: Path | None, options: Mapping[str, str]) -> Server:
    ports = reserve(2 if protocol == "mqtt" else 1)
    certificates = options.get("certificates", "")
    process = Supervised(f"embedded-{protocol}", folder)
    module = f"mqproof.harness.reference.{protocol}.server"
    address = ["--host", "127.0.0.1", "--port", str(ports[0].number)]
    address += [word for port in ports[1:] for word in ("--ws-port", str(port.number))]
    process.leash([sys.executable, "-P", "-m", module, *address, *_arguments(protocol, options)], _environment())
    target = Target(
        f"embedded-{protocol}", protocol, "127.0.0.1", ports[0].number,
        user="guest" if protocol == "amqp" else None, password="guest" if protocol == "amqp" else None,
        product="mqproof embedded", version=version("mqproof"), driver="embedded",
    )  # fmt: skip
    if protocol == "mqtt":
        target = target.with_(websocket=target.with_(port=ports[1].number, path="/mqtt"))
    if certificates:
        target = target.with_(tls=tls_of(Path(certificates)), websocket=None)
    return Server(process, [target], ports)


def _arguments(protocol: str, options: Mapping[str, str]) -> list[str]:
    defects = [name.strip() for name in options.get("defects", "").split(",") if name.strip()]
    own = ("defects", "certificates")
    others = [word for name, value in options.items() if name not in own for word in (f"--{name}", value)]
    if certificates := options.get("certificates", ""):
        name = {"amqp": "--certificate", "mqtt": "--cert"}[protocol]
        others += [name, f"{certificates}/{CERTIFICATE}", "--key", f"{certificates}/{KEY}"]
    return [*others, *(word for name in defects for word in ("--defect", name))]


def _environment() -> dict[str, str]:
    return environment(PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
