"""The first words of AMQP and MQTT, spoken by hand: is it such a server, does it let us in, what does it say of itself.

Every function raises the errors of :mod:`mqproof.harness.targets.errors`; :class:`NoGreeting` stands for "something
answers, and it is not what the URL says", from which :mod:`diagnose` finds out what it is.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import CONNECT_RETURN_CODES, ReasonCode, Version
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.errors import LoginRefused, TargetError, Unreachable
from mqproof.harness.targets.talk import Talk
from mqproof.harness.targets.target import Target

GOODBYE_SECONDS = 1.0
CAPABILITIES = {"authentication_failure_close": True, "basic.nack": True, "consumer_cancel_notify": True}
REFUSED_LOGINS = {
    ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    ReasonCode.NOT_AUTHORIZED,
    ReasonCode.BANNED,
    ReasonCode.BAD_AUTHENTICATION_METHOD,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    4,  # MQTT 3.1.1 section 3.2.2.3: bad user name or password
    5,  # not authorized
}


class NoGreeting(Exception):
    """The server said something else (``octets``) or nothing; ``silent``: until the deadline, else it closed."""

    def __init__(self, octets: bytes, silent: bool) -> None:
        super().__init__(octets, silent)
        self.octets = octets
        self.silent = silent


def greet_amqp(target: Target, deadline: Deadline) -> dict[str, Any]:
    """Open and close an AMQP 0-9-1 connection (section 2.2.4); return the server's properties as plain values."""
    with Talk(target, deadline) as talk:
        decoder = amqp.Decoder()
        talk.send(amqp.encode(amqp.ProtocolHeader()))
        start = _method(talk, decoder)
        if start is None or start.name != "connection.start":
            raise NoGreeting(talk.first_octets, silent=False)
        _log_in(talk, decoder, start)
        _open(talk, decoder)
        properties: dict[str, Any] = amqp.plain(start.arguments["server_properties"])
        return properties


def _log_in(talk: Talk, decoder: amqp.Decoder, start: amqp.Method) -> None:
    """Start-ok to tune-ok. Raises LoginRefused."""
    target = talk.target
    mechanisms = start.arguments["mechanisms"].decode(errors="replace").split()
    if "PLAIN" not in mechanisms:
        raise LoginRefused(
            f"{target.redacted_url}: the server takes no passwords (it offers {', '.join(mechanisms) or 'nothing'}): "
            "enable the mechanism PLAIN"
        )
    response = f"\0{target.user or ''}\0{target.password or ''}".encode()
    properties = {"product": "mqproof", "capabilities": CAPABILITIES}
    answer = _call(
        talk, decoder, "connection.start-ok",
        client_properties=properties, mechanism="PLAIN", response=response, locale="en_US",
    )  # fmt: skip
    if answer is None or answer.name != "connection.tune":
        reason = _reply(answer) if answer else "it closes the connection"
        raise LoginRefused(
            f"{target.redacted_url}: the server refuses user {target.user!r} ({reason}): check user and password"
        )
    limits = {name: answer.arguments[name] for name in ("channel_max", "frame_max")}
    talk.send(amqp.encode(amqp.method("connection.tune-ok", 0, **limits, heartbeat=0)))


def _open(talk: Talk, decoder: amqp.Decoder) -> None:
    """Open the virtual host and close the connection again. Raises LoginRefused."""
    target = talk.target
    answer = _call(talk, decoder, "connection.open", virtual_host=target.vhost)
    if answer is None or answer.name != "connection.open-ok":
        reason = _reply(answer) if answer else "it closes the connection"
        raise LoginRefused(
            f"{target.redacted_url}: the server does not open virtual host {target.vhost!r} ({reason}): "
            f"does it exist, and may user {target.user!r} enter it?"
        )
    talk.deadline = talk.deadline.sooner(GOODBYE_SECONDS)
    try:
        _call(talk, decoder, "connection.close", reply_code=200, reply_text="done")
    except NoGreeting:
        pass  # it let us in; that it does not answer the goodbye is for a suite to judge


def _call(talk: Talk, decoder: amqp.Decoder, name: str, **arguments: Any) -> amqp.Method | None:
    talk.send(amqp.encode(amqp.method(name, 0, **arguments)))
    return _method(talk, decoder)


def _method(talk: Talk, decoder: amqp.Decoder) -> amqp.Method | None:
    """Return the next method, None when the server closes after it has spoken. Raises NoGreeting."""
    while True:
        try:
            frame = decoder.next()
        except amqp.Malformed:
            raise NoGreeting(talk.first_octets, silent=False) from None
        if isinstance(frame, amqp.ProtocolHeader):  # section 2.2.4: the version that the server would speak instead
            raise NoGreeting(talk.first_octets, silent=False)
        if isinstance(frame, amqp.Method):
            return frame
        if frame is None and not _feed(talk, decoder):
            return None


def _feed(talk: Talk, decoder: amqp.Decoder | mqtt.Decoder) -> bool:
    try:
        octets = talk.receive()
    except TimeoutError:
        raise NoGreeting(talk.first_octets, silent=True) from None
    if not octets and not talk.first_octets:
        raise NoGreeting(b"", silent=False)
    decoder.feed(octets)
    return bool(octets)


def _reply(answer: amqp.Method) -> str:
    if answer.name.endswith(".close"):
        return f"{answer.arguments['reply_code']} {answer.arguments['reply_text']}"
    return f"it answers {answer.name}"


@dataclass(frozen=True, slots=True)
class MqttGreeting:
    """What an MQTT server let us see. ``properties``: CONNACK's, by name; ``granted``: of a subscription to QoS 2."""

    version: Version
    properties: dict[str, Any] = field(default_factory=dict)
    granted: int | None = None
    sys_version: str = ""


class VersionRefused(Exception):
    """The server speaks MQTT, but not in this version."""


def greet_mqtt(target: Target, deadline: Deadline, version: Version, *, look: bool = False) -> MqttGreeting:
    """Connect and disconnect; with ``look`` also try a subscription and ask for the broker's name in between.

    Raises VersionRefused, NoGreeting.
    """
    client_id = "mqproof" + secrets.token_hex(6)
    password = target.password.encode() if target.password is not None and target.user is not None else None
    connect = mqtt.Connect(client_id, keep_alive=60, user_name=target.user, password=password, version=version)
    with Talk(target, deadline) as talk:
        decoder = mqtt.Decoder(version)
        talk.send(mqtt.encode(connect, version))
        connack = _packet(talk, decoder)
        if not isinstance(connack, mqtt.Connack):
            raise NoGreeting(talk.first_octets, silent=False)
        if connack.reason_code:
            raise _refusal(target, connack, version)
        granted, sys_version = _look_around(talk, decoder, client_id) if look else (None, "")
        talk.send(mqtt.encode(mqtt.Disconnect(), version))
        return MqttGreeting(version, dict(connack.properties), granted, sys_version)


def _packet(talk: Talk, decoder: mqtt.Decoder) -> mqtt.Packet | None:
    """Return the next packet, None when the server closes. Raises NoGreeting."""
    while True:
        try:
            packet = decoder.next()
        except mqtt.Malformed:
            raise NoGreeting(talk.first_octets, silent=False) from None
        if packet is not None:
            return packet
        if not _feed(talk, decoder):
            return None


def _refusal(target: Target, connack: mqtt.Connack, version: Version) -> Exception:
    code = connack.reason_code
    if code in (1, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR):
        return VersionRefused()
    reason = mqtt.prop(connack.properties, "reason_string") or _code_name(code)
    where = f"{target.redacted_url}: the server refuses"
    kind: type[TargetError] = LoginRefused if code in REFUSED_LOGINS else Unreachable
    if kind is LoginRefused:
        who = f"user {target.user!r}" if target.user is not None else "a client without a login"
        return kind(f"{where} {who} ({reason}): check user and password (mqtt://USER:PASSWORD@HOST)")
    return kind(f"{where} clients ({reason}): try again when it takes them")


def _code_name(code: int) -> str:
    if code in CONNECT_RETURN_CODES:
        return CONNECT_RETURN_CODES[code]
    names = {reason.value: reason.name for reason in ReasonCode}
    return names.get(code, f"code {code:#04x}").replace("_", " ").lower()


def _look_around(talk: Talk, decoder: mqtt.Decoder, name: str) -> tuple[int | None, str]:
    """Subscribe to a name of our own with QoS 2, and to the topic in which brokers tell their version.

    Both answers, and a retained message with them, come before the answer to PINGREQ in practice; whatever does not
    is done without. Nothing here fails: a server may forbid all of it.
    """
    version = decoder.version
    for number, topic, qos in ((1, f"mqproof/{name}", 2), (2, "$SYS/broker/version", 0)):
        talk.send(mqtt.encode(mqtt.Subscribe(number, (mqtt.Subscription(topic, qos),)), version))
    talk.send(mqtt.encode(mqtt.Pingreq(), version))
    talk.deadline = talk.deadline.sooner(2.0)
    granted, sys_version = None, ""
    try:
        while (packet := _packet(talk, decoder)) is not None and not isinstance(packet, mqtt.Pingresp):
            if isinstance(packet, mqtt.Suback) and packet.packet_id == 1:
                granted = packet.reason_codes[0]
            elif isinstance(packet, mqtt.Publish) and packet.topic.startswith("$SYS/"):
                sys_version = packet.payload.decode(errors="replace")
    except NoGreeting:
        pass
    return granted, sys_version
