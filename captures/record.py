"""Makes the golden captures again: small conversations with the real brokers, each with the account it must give.

    python captures/record.py [NAME...]

needs dumpcap (as root), mosquitto, rabbitmq-server, openssl and capinfos. Each capture gets a TOML file: how it was
made, with which versions, and what an analyzer must find. What it must find follows from what was sent
(conversations.py); sizes of the file come from capinfos. Nothing in the TOML comes from our own analyzer.
"""

import contextlib
import inspect
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bridge import bridged
from changes import swapped, tagged
from conversations import (
    Expected,
    amqp_large_body,
    amqp_messages,
    amqp_mid_connection,
    mqtt_all_qos,
    mqtt_large_connect,
    mqtt_logged_in,
    mqtt_mid_connection,
    mqtt_straddled,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness.recording.record import record as recording
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.ports import Port
from mqproof.harness.targets.target import Target, Tls
from talking import AmqpOverTls, AmqpOverWebSocket, MqttOverTls, MqttOverWebSocket

FOLDER = Path(__file__).parent
WRITTEN = (("content_type", "text"), ("user_property", ("k", "v")))  # properties of the messages in MQTT 5.0


@dataclass(frozen=True)
class Real:
    """A capture of a broker's. ``way``: which of its listeners; ``cooked``: with Linux cooked v2 headers."""

    driver: str
    way: str
    talk: Callable[[Target], Any]
    cooked: bool = False

    @property
    def says(self) -> str:
        """What is said in it."""
        talk = self.talk.func if isinstance(self.talk, partial) else self.talk
        return " ".join((talk.__doc__ or "").split())


REAL: dict[str, Real] = {
    "mqtt-3.1.1": Real("mosquitto", "mqtt", partial(mqtt_all_qos, version=Version.V3_1_1)),
    "mqtt-5.0": Real("mosquitto", "mqtt", partial(mqtt_all_qos, version=Version.V5_0, properties=WRITTEN)),
    "mqtt-3.1": Real("mosquitto", "mqtt", partial(mqtt_all_qos, version=Version.V3_1)),
    "mqtt-ipv6": Real("mosquitto", "ipv6", partial(mqtt_all_qos, version=Version.V3_1_1)),
    "mqtt-cooked2": Real("mosquitto", "mqtt", partial(mqtt_all_qos, version=Version.V3_1_1), cooked=True),
    "mqtt-straddled": Real("mosquitto", "mqtt", mqtt_straddled),
    "mqtt-large-connect": Real("mosquitto", "mqtt", mqtt_large_connect),
    "mqtt-mid-connection": Real("mosquitto", "mqtt", mqtt_mid_connection),
    "mqtt-websocket": Real(
        "mosquitto", "websocket", partial(mqtt_all_qos, version=Version.V3_1_1, kind=MqttOverWebSocket)
    ),
    "mqtt-tls": Real("mosquitto", "tls", partial(mqtt_all_qos, version=Version.V5_0, kind=MqttOverTls)),
    "mqtt-rabbitmq": Real("rabbitmq", "mqtt", mqtt_logged_in),
    "amqp-messages": Real("rabbitmq", "amqp", amqp_messages),
    "amqp-large-body": Real("rabbitmq", "amqp", amqp_large_body),
    "amqp-mid-connection": Real("rabbitmq", "amqp", amqp_mid_connection),
    "amqp-websocket": Real("rabbitmq", "bridge", partial(amqp_messages, kind=AmqpOverWebSocket)),
    "amqp-tls": Real("rabbitmq", "tls", partial(amqp_messages, kind=AmqpOverTls)),
}
DERIVED: dict[str, tuple[str, str, Callable[[list[Packet]], list[Packet]]]] = {
    "mqtt-swapped": ("mqtt-3.1.1", "segments swapped and repeated", swapped),
    "mqtt-vlan": ("mqtt-3.1.1", "two VLAN tags added", tagged),
    "amqp-swapped": ("amqp-messages", "segments swapped and repeated", swapped),
}


def record_real(name: str, real: Real, target: Target) -> None:
    """Capture one conversation and write it down."""
    path = FOLDER / f"{name}.pcapng"
    path.with_suffix(".keys").unlink(missing_ok=True)  # Python's TLS adds to a log that is there
    with tempfile.TemporaryDirectory() as folder:
        talking = real.talk(target) if inspect.isgeneratorfunction(real.talk) else None
        if talking is not None:
            next(talking)
        with recording([target], Path(folder), kind="dumpcap", cooked=real.cooked) as made:
            expected = real.talk(target) if talking is None else next(talking)
        shutil.copyfile(made.files[0], path)
    path.chmod(0o644)
    where = "on all interfaces" if real.cooked else "on loopback"
    where += ", through a bridge from WebSocket to TCP (bridge.py)" if real.way == "bridge" else ""
    describe(name, f"{real.says} With {target.product} {target.version}, dumpcap {where}.", expected)


def describe(name: str, made: str, expected: Expected) -> None:
    """Write the TOML file beside a capture."""
    lines = [f'made = "{made}"', "", "# From what was sent."]
    lines += [f"{key} = {value}" for key, value in expected.items() if not isinstance(value, dict)]
    lines += ["", "# From capinfos.", "[file]"]
    lines += [f"{key} = {value}" for key, value in capinfos(FOLDER / f"{name}.pcapng").items()]
    lines += ["", "# From what was sent."]
    for key, table in expected.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f'"{inner}" = {value}' for inner, value in table.items()), ""]
    (FOLDER / f"{name}.toml").write_text("\n".join(lines).rstrip() + "\n")


def capinfos(path: Path) -> dict[str, int]:
    """Return packets, captured octets and octets on the wire, as Wireshark's own tool counts them."""
    printed = subprocess.run(
        ["capinfos", "-T", "-r", "-M", "-c", "-d", str(path)], capture_output=True, text=True, check=True
    ).stdout.split("\t")
    return {"packets": int(printed[1]), "captured": int(printed[2])}


def reached(broker: Any, real: Real, ports: Mapping[str, Port]) -> Target:
    """Return the target at one of the broker's listeners."""
    way, protocol = real.way, "amqp" if real.driver == "rabbitmq" else "mqtt"
    if way in ("amqp", "mqtt", "bridge"):
        return broker.target(protocol if way == "bridge" else way)  # type: ignore[no-any-return]
    target: Target = broker.target(protocol)
    if way == "websocket":
        assert target.websocket is not None, "this build of mosquitto knows no WebSocket"
        return target.with_(port=target.websocket.port)
    tls = Tls(insecure=True) if way == "tls" else None
    return target.with_(host="::1" if way == "ipv6" else "127.0.0.1", port=ports[way].number, tls=tls)


def listeners(driver: str, folder: Path, ports: Mapping[str, Port]) -> dict[str, str]:
    """Return the lines for more listeners in the broker's configuration."""
    key, certificate = str(folder / "key"), str(folder / "certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=broker", "-keyout", key, "-out", certificate]
    subprocess.run(command, capture_output=True, check=True)
    if driver == "rabbitmq":
        return {
            "listeners.ssl.1": f"127.0.0.1:{ports['tls'].number}", "ssl_options.cacertfile": certificate,
            "ssl_options.certfile": certificate, "ssl_options.keyfile": key, "ssl_options.verify": "verify_none",
        }  # fmt: skip
    return {  # a name with a blank is another key, and the same word to mosquitto
        "listener ": f"{ports['ipv6'].number} ::1", "allow_anonymous ": "true",
        "listener  ": f"{ports['tls'].number} 127.0.0.1", "allow_anonymous  ": "true",
        "certfile": certificate, "keyfile": key,
    }  # fmt: skip


def record_all(driver: str, mine: Mapping[str, Real]) -> None:
    """Record the captures of one broker."""
    with tempfile.TemporaryDirectory() as folder:
        ports = {way: Port.reserve() for way in ("ipv6", "tls", "bridge")}
        with DRIVERS[driver].start(options=listeners(driver, Path(folder), ports)) as broker:
            for name, real in mine.items():
                target = reached(broker, real, ports)
                bridge = bridged(target, ports["bridge"]) if real.way == "bridge" else contextlib.nullcontext(target)
                with bridge as target:
                    record_real(name, real, target)


def derive(name: str) -> None:
    """Write a changed capture and its TOML: what was sent is the same, the file is not."""
    source, what, change = DERIVED[name]
    packets = list(read_packets(FOLDER / f"{source}.pcapng"))
    path = FOLDER / f"{name}.pcapng"
    write_packets(path, change(packets), packets[0].linktype)
    path.chmod(0o644)
    table = tomllib.loads((FOLDER / f"{source}.toml").read_text())
    kept = {key: value for key, value in table.items() if key not in ("file", "made")}
    describe(name, f"{source}.pcapng with {what}.", kept)


def main(names: Sequence[str]) -> None:
    """Record the named captures, or all."""
    if unknown := set(names) - set(REAL) - set(DERIVED):
        raise SystemExit(f"no capture is named {', '.join(sorted(unknown))}: choose of {', '.join([*REAL, *DERIVED])}")
    wanted = set(names) or set(REAL) | set(DERIVED)
    for driver in ("mosquitto", "rabbitmq"):
        mine = {name: real for name, real in REAL.items() if real.driver == driver and name in wanted}
        if mine:
            record_all(driver, mine)
    for name in DERIVED:
        if name in wanted:
            derive(name)


if __name__ == "__main__":
    main(sys.argv[1:])
