"""The driver ``rabbitmq``: RabbitMQ for AMQP 0-9-1, and MQTT 3.1.1 through its plugins, also over WebSocket.

Its node knows no other node and no epmd: own cookie, own home, own everything. Options are lines of
``rabbitmq.conf``; ``plugins`` (names, comma-separated) enables more of them, ``channel_tick_interval`` (milliseconds)
says how often channels look for consumers that do not acknowledge, ``certificates`` (a folder) makes AMQP and MQTT
speak TLS. Besides guest and / it has what tests of rights
need: the virtual hosts ``other`` and ``closed``, which nobody may open, and a user who may open the rest and no more.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Literal

from mqproof.harness.patience import patience
from mqproof.harness.targets.drivers.base import (
    Availability,
    LocalBroker,
    Server,
    environment,
    reserve,
)
from mqproof.harness.targets.drivers.certificates import AUTHORITY, CERTIFICATE, KEY, tls_of
from mqproof.harness.targets.drivers.launch import LaunchingDriver
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.errors import BrokerFailed
from mqproof.harness.targets.target import Target

PLACES = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq*/sbin",
    "/usr/local/rabbitmq*/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
CONTROL_SECONDS = 60.0
VHOSTS = ("/", "other")  # and "closed", which nobody may open
STRANGER = "mqproof-stranger"  # and the password


class RabbitMQ(LaunchingDriver):
    """Starts RabbitMQ as an Erlang node of its own, which takes about four seconds and 140 MB."""

    name = "rabbitmq"
    protocols = ("amqp", "mqtt")

    def availability(self) -> Availability:
        """Return whether RabbitMQ and Erlang are installed."""
        scripts = find_scripts()
        if scripts is None or shutil.which("erl", path=environment()["PATH"]) is None:
            return Availability(False, "apt-get install --no-install-recommends rabbitmq-server")
        return Availability(True, _version(scripts))

    def prepare(
        self, protocols: tuple[str, ...], folder: Path | None, options: dict[str, str], version: str
    ) -> LocalBroker:
        """Return the broker; the MQTT plugin is enabled only where MQTT is wanted."""
        scripts = find_scripts()
        assert scripts is not None
        amqp, mqtt, dist, web = ports = reserve(4)
        process = Supervised("rabbitmq", folder)
        node = f"mqproof{secrets.token_hex(6)}@localhost"
        env = _environment(process.folder, node, amqp.number, dist.number)
        process.leash([str(scripts / "rabbitmq-server"), "-noinput"], env)
        plugins = [name.strip() for name in options.pop("plugins", "").split(",") if name.strip()]
        if "mqtt" in protocols:
            plugins += ["rabbitmq_mqtt", "rabbitmq_web_mqtt"]
            options = {
                "mqtt.listeners.tcp.1": f"127.0.0.1:{mqtt.number}", "web_mqtt.tcp.ip": "127.0.0.1",
                "web_mqtt.tcp.port": str(web.number),
            } | options  # fmt: skip
        certificates = options.pop("certificates", "")
        if certificates:
            amqp, mqtt = secured = reserve(2)  # the plain ports stay: RabbitMQ is told one of them by its environment
            ports += secured
            options = _tls(certificates, {"amqp": amqp.number, "mqtt": mqtt.number}, protocols) | options
        tick = options.pop("channel_tick_interval", "")
        if tick:
            terms = f"[{{rabbit, [{{channel_tick_interval, {int(tick)}}}]}}].\n"
            (process.folder / "advanced.config").write_text(terms)
        _write_configuration(process.folder, plugins, options, version)
        numbers = {"amqp": amqp.number, "mqtt": mqtt.number}
        targets = [_target(protocol, numbers[protocol], web.number, version, certificates) for protocol in protocols]
        server = Server(process, targets, ports, logs=[process.folder / "rabbit.log"])
        return RabbitBroker(server, env, scripts)


class RabbitBroker(LocalBroker):
    """A local RabbitMQ, with its command line."""

    def __init__(self, server: Server, env: Mapping[str, str], scripts: Path) -> None:
        super().__init__("rabbitmq", [server])
        self._env = dict(env)
        self._scripts = scripts

    def control(self, *arguments: str) -> str:
        """Return what ``rabbitmqctl`` prints. Raises BrokerFailed."""
        command = [str(self._scripts / "rabbitmqctl"), "--quiet", *arguments]
        try:
            done = subprocess.run(
                command, env=self._env, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, timeout=patience.seconds(CONTROL_SECONDS),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise BrokerFailed(f"rabbitmqctl {arguments[0]} does not answer") from None
        if done.returncode:
            words = " ".join((done.stderr or done.stdout).split())
            raise BrokerFailed(f"rabbitmqctl {arguments[0]} failed: {words[:400]}")
        return done.stdout

    def alarm(self, raised: bool) -> None:
        """Set the memory watermark so low that everything is above it, or back to its default."""
        self.control("set_vm_memory_high_watermark", "0.00001" if raised else "0.6")

    def restart(self, how: Literal["soft", "hard"] = "soft") -> None:
        """``soft`` stops and starts the broker inside its Erlang node; ``hard`` kills the node and starts it again."""
        if how == "hard" or not self.pids:
            super().restart(how)
            return
        self.control("stop_app")
        self.control("start_app")
        self.servers[0].await_ready()


def find_scripts() -> Path | None:
    """Return the folder with the server's own scripts; the wrappers elsewhere insist on being a certain user."""
    named = os.environ.get("RABBITMQ_HOME")
    places = [f"{named}/sbin"] if named else []
    found = [path for place in (*places, *PLACES) for path in sorted(glob(place), reverse=True)]
    return next((Path(path) for path in found if (Path(path) / "rabbitmq-env").exists()), None)


def _version(scripts: Path) -> str:
    home = scripts.resolve().parent
    applications = sorted(glob(str(home / "plugins" / "rabbit-[0-9]*")) + glob(str(home / "ebin" / "rabbit.app")))
    named = home.name.rpartition("-")[2]
    if applications and not named[:1].isdigit():
        named = Path(applications[0]).name.removeprefix("rabbit-").removesuffix(".ez")
    return named if named[:1].isdigit() else "unknown version"


def _write_configuration(folder: Path, plugins: Sequence[str], options: Mapping[str, str], version: str) -> None:
    (folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
    definitions = folder / "definitions.json"
    definitions.write_text(json.dumps(_definitions(version)))
    config = {
        "loopback_users.guest": "true", "log.console": "false", "load_definitions": str(definitions),
    } | dict(options)  # fmt: skip
    (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in config.items()))


def _target(protocol: str, port: int, web_port: int, version: str, certificates: str) -> Target:
    target = Target(
        f"rabbitmq-{protocol}", protocol, "127.0.0.1", port,
        user="guest", password="guest", product="RabbitMQ", version=version, driver="rabbitmq",
    )  # fmt: skip
    if protocol == "mqtt":
        target = target.with_(websocket=target.with_(port=web_port, path="/ws"))
    return target.with_(tls=tls_of(Path(certificates))) if certificates else target


def _tls(certificates: str, ports: Mapping[str, int], chosen: Sequence[str]) -> dict[str, str]:
    """Return the lines of the configuration for TLS; clients show no certificate."""
    listeners = {"amqp": "listeners.ssl.1", "mqtt": "mqtt.listeners.ssl.1"}
    files = {"cacertfile": AUTHORITY, "certfile": CERTIFICATE, "keyfile": KEY}
    return {
        **{listeners[protocol]: f"127.0.0.1:{ports[protocol]}" for protocol in chosen},
        **{f"ssl_options.{name}": f"{certificates}/{file}" for name, file in files.items()},
        "ssl_options.verify": "verify_none",
        "ssl_options.fail_if_no_peer_cert": "false",
    }


def _definitions(version: str) -> dict[str, object]:
    """Return the virtual hosts and users that the broker begins with."""
    users = (("guest", "guest", "administrator", ".*"), (STRANGER, STRANGER, "", "^$"))
    return {
        "rabbitmq_version": version,
        "users": [
            {
                "name": name,
                "password_hash": _password_hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [tag] if tag else [],
            }
            for name, password, tag, _ in users
        ],
        "vhosts": [{"name": vhost} for vhost in (*VHOSTS, "closed")],
        "permissions": [
            {"user": name, "vhost": vhost, "configure": names, "write": names, "read": names}
            for name, _, _, names in users
            for vhost in VHOSTS
        ],
    }


def _password_hash(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _environment(folder: Path, node: str, port: int, dist: int) -> dict[str, str]:
    """Return an environment in which neither server nor tools touch anything outside ``folder``."""
    alone = f"-erl_epmd_port {dist}"
    return environment(
        HOME=str(folder),
        RABBITMQ_ALLOW_INPUT="1",  # then the script becomes the Erlang machine instead of waiting for it
        RABBITMQ_NODENAME=node,
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_DIST_PORT=str(dist),
        RABBITMQ_MNESIA_BASE=str(folder / "mnesia"),
        RABBITMQ_LOG_BASE=str(folder),
        RABBITMQ_LOGS=str(folder / "rabbit.log"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "enabled_plugins"),
        RABBITMQ_CONF_ENV_FILE=os.devnull,
        RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq.conf"),
        RABBITMQ_ADVANCED_CONFIG_FILE=str(folder / "advanced.config"),
        RABBITMQ_GENERATED_CONFIG_DIR=str(folder / "generated"),
        RABBITMQ_FEATURE_FLAGS_FILE=str(folder / "feature_flags"),
        RABBITMQ_PID_FILE=str(folder / "pid"),
        RABBITMQ_SERVER_START_ARGS=f"-sname {node} {alone} -kernel inet_dist_use_interface {{127,0,0,1}} "
        "-kernel dist_auto_connect never",
        RABBITMQ_CTL_ERL_ARGS=f"{alone} -dist_listen false",  # the one port is the server's
        ERL_FLAGS="-start_epmd false",  # of all: also of what rabbitmqctl starts in order to have a port mapper
    )
