"""The driver ``amqtt``: the Python broker amqtt for MQTT 3.1.1, also over WebSocket.

Options are entries of its configuration at the top level, their values in JSON where they are not plain text
(``session_expiry_interval`` as ``60``). Everything is in memory and lost by a restart.
"""

import importlib.util
import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from mqproof.harness.targets.drivers.base import (
    Availability,
    LocalBroker,
    Server,
    environment,
    reserve,
)
from mqproof.harness.targets.drivers.launch import LaunchingDriver
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.target import Target

INSTALL = "pip install amqtt"
USER = "someone"
PLUGINS: dict[str, dict[str, Any]] = {
    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False},  # any user, but a user
    "amqtt.plugins.sys.broker.BrokerSysPlugin": {"sys_interval": 20},
}  # as by default, but for sessions, which amqtt keeps for no client that it let in without a name, and the packet logs


class Amqtt(LaunchingDriver):
    """Starts amqtt, which is ready within a second."""

    name = "amqtt"
    protocols = ("mqtt",)

    def availability(self) -> Availability:
        """Return whether amqtt is installed, beside mqproof or as a program of its own."""
        command = find()
        return Availability(True, _version(command)) if command else Availability(False, INSTALL)

    def prepare(
        self, protocols: tuple[str, ...], folder: Path | None, options: dict[str, str], version: str
    ) -> LocalBroker:
        """Return the broker; everything is in memory and lost by a restart."""
        command = find()
        assert command is not None
        plain, web = ports = reserve(2)
        process = Supervised("amqtt", folder)
        process.leash([*command, "-c", "amqtt.json"], environment())
        (process.folder / "amqtt.json").write_text(_config(plain.number, web.number, options))
        target = Target(
            "amqtt", "mqtt", "127.0.0.1", plain.number, user=USER, password=secrets.token_hex(8),
            product="amqtt", version=version, driver="amqtt",
        )  # fmt: skip
        target = target.with_(websocket=target.with_(port=web.number, path="/mqtt"))
        return LocalBroker("amqtt", [Server(process, [target], ports, stop_signal=signal.SIGINT)])


def find() -> tuple[str, ...] | None:
    """Return the command that runs amqtt: in our own interpreter where it is installed there, else as a program."""
    if importlib.util.find_spec("amqtt") is not None:
        return sys.executable, "-P", "-m", "amqtt.scripts.broker_script"
    program = shutil.which("amqtt")
    return (program,) if program else None


@cache
def _version(command: tuple[str, ...]) -> str:
    if command[0] == sys.executable:
        return installed_version("amqtt")
    printed = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    return printed.strip() or "unknown version"


def _config(port: int, web_port: int, options: Mapping[str, str]) -> str:
    listeners = {
        "default": {"type": "tcp", "bind": f"127.0.0.1:{port}"},
        "web": {"type": "ws", "bind": f"127.0.0.1:{web_port}"},
    }
    given = {name: _value(text) for name, text in options.items()}
    return json.dumps({"listeners": listeners, "plugins": PLUGINS} | given, indent=1)  # YAML reads JSON


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
