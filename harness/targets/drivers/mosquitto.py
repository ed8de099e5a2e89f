"""The driver ``mosquitto``: Eclipse Mosquitto for MQTT 3.1.1 and 5.0, also over WebSocket where its build can.

Options of its own: ``user`` (``NAME:PASSWORD``) demands a login, ``certificates`` (a folder) makes it speak TLS;
everything else is a line of ``mosquitto.conf``.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mqproof.harness.targets.drivers.base import (
    Availability,
    LocalBroker,
    Server,
    environment,
    reserve,
)
from mqproof.harness.targets.drivers.certificates import CERTIFICATE, KEY, tls_of
from mqproof.harness.targets.drivers.launch import LaunchingDriver
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.errors import BrokerFailed
from mqproof.harness.targets.target import Target

SYSTEM_PATHS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")


class Mosquitto(LaunchingDriver):
    """Starts ``mosquitto``, which is ready within 20 ms."""

    name = "mosquitto"
    protocols = ("mqtt",)

    def availability(self) -> Availability:
        """Return whether mosquitto is installed."""
        program = find("mosquitto")
        if program is None:
            return Availability(False, "apt-get install --no-install-recommends mosquitto")
        return Availability(True, _version(program))

    def prepare(
        self, protocols: tuple[str, ...], folder: Path | None, options: dict[str, str], version: str
    ) -> LocalBroker:
        """Return the broker; it keeps sessions and retained messages in its folder over a restart."""
        program = find("mosquitto")
        assert program is not None
        has_websocket = _has_websocket(program)
        ports = reserve(2 if has_websocket else 1)
        process = Supervised("mosquitto", folder)
        process.leash([program, "-c", "mosquitto.conf"], environment())
        user, _, password = options.pop("user", "").partition(":")
        certificates = options.pop("certificates", "")
        if certificates:
            options |= {"certfile": f"{certificates}/{CERTIFICATE}", "keyfile": f"{certificates}/{KEY}"}
        if user:
            _write_passwords(process.folder / "passwords", user, password)
        (process.folder / "mosquitto.conf").write_text(_config([port.number for port in ports], user, options))
        target = Target(
            "mosquitto", "mqtt", "127.0.0.1", ports[0].number,
            user=user or None, password=password if user else None,
            product="mosquitto", version=version, driver="mosquitto",
        )  # fmt: skip
        if has_websocket:
            target = target.with_(websocket=target.with_(port=ports[1].number, path="/mqtt"))
        if certificates:
            target = target.with_(tls=tls_of(Path(certificates)))
        return LocalBroker("mosquitto", [Server(process, [target], ports)])


def find(program: str) -> str | None:
    """Return where a program is; daemons are not on an ordinary user's search path."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(SYSTEM_PATHS))


@cache
def _version(program: str) -> str:
    printed = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.search(r"version (\S+)", printed)
    return found[1] if found else "unknown version"


@cache
def _has_websocket(program: str) -> bool:
    """Whether the build knows WebSocket: the library, or code of its own, leaves the header's name in the program."""
    octets = Path(program).read_bytes().lower()
    return b"libwebsockets" in octets or b"sec-websocket-accept" in octets


def _config(ports: Sequence[int], user: str, options: Mapping[str, str]) -> str:
    """Return the configuration; options that belong to a listener belong to that of plain TCP, the last one."""
    web = [f"listener {port} 127.0.0.1\nprotocol websockets\nsocket_domain ipv4\n" for port in ports[1:]]
    lines = {
        "listener": f"{ports[0]} 127.0.0.1",
        "allow_anonymous": "false" if user else "true",
        "persistence": "true",
        "persistence_location": "./",
        "log_dest": "stdout",
        "log_timestamp_format": "%Y-%m-%dT%H:%M:%S",
    }
    if user:
        lines["password_file"] = "passwords"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        lines["user"] = "root"  # else it becomes a user who may not enter our folder
    return "".join([*web, *(f"{name} {value}\n" for name, value in (lines | dict(options)).items())])


def _write_passwords(path: Path, user: str, password: str) -> None:
    program = find("mosquitto_passwd")
    if program is None:
        raise BrokerFailed("mosquitto cannot be given a user: the program mosquitto_passwd is missing")
    path.touch(mode=0o600)
    path.write_text(f"{user}:{password}\n")  # not as an argument, which every user of the machine could read
    done = subprocess.run([program, "-U", str(path)], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BrokerFailed(f"mosquitto_passwd failed: {done.stderr.strip()}")
