"""The engine's MQTT 3.1.1 and 5.0: publish in batches at each QoS, subscribe and acknowledge in batches."""

from typing import Any

import numpy as np
from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    encode,
    prop,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.batch import Batch
from mqproof.loadtests.engine.wire import Broken, Declined, Forbidden, Scratch, Wire

VERSION = Version.V3_1_1  # unless something is asked for that only 5.0 has
SESSION_SECONDS = 3600  # of a session that outlives its connection; 3.1.1's has no end
IDS = 65535  # packet ids there are
REFUSALS = 0x80  # SUBACK's codes from here on (3.1.1 section 3.9.3, 5.0 section 3.9.3)
ANSWERS = {  # what is answered to what: kind of event -> the first octet of PUBACK, PUBREC, PUBREL, PUBCOMP
    kernels.OWED_ACK: 0x40,
    kernels.OWED_REC: 0x50,
    kernels.RECEIVED: 0x62,
    kernels.RELEASED: 0x70,
}

FIRST: Any = np.zeros(max(ANSWERS) + 1, np.uint8)  # the same, looked up by array; 0: nothing
FIRST[list(ANSWERS)] = list(ANSWERS.values())


class MqttWire(Wire):
    """An open connection with a clean session, unless ``clean`` says otherwise."""

    def __init__(
        self, target: Target, scratch: Scratch, client_id: str, *, clean: bool = True, keep_alive: int = 0,
        buffer: int = 1 << 20, version: Version = VERSION,
    ) -> None:  # fmt: skip
        self.version = version
        is_five = version is Version.V5_0
        walk = kernels.walk_mqtt_5 if is_five else kernels.walk_mqtt
        super().__init__(target, scratch, Decoder(version), walk, buffer)
        password = target.password.encode() if target.password is not None else None
        lasts = () if clean or not is_five else (("session_expiry_interval", SESSION_SECONDS),)
        connect = Connect(
            client_id, clean, keep_alive, user_name=target.user, password=password, version=version, properties=lasts
        )
        self.send(encode(connect, version))
        answer = self.answer()
        if not isinstance(answer, Connack) or answer.reason_code:
            raise Forbidden(f"CONNECT: refused with {getattr(answer, 'reason_code', 'something else')}")
        self.session_present = answer.session_present
        self.receive_maximum = int(prop(answer.properties, "receive_maximum") or IDS)
        self.shares = prop(answer.properties, "shared_subscription_available") != 0 and is_five

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe; messages come by ``receive``."""
        if topic_filter.startswith("$share/") and not self.shares:
            raise Broken("SUBSCRIBE: the broker has no shared subscriptions")
        self.send(encode(Subscribe(1, (Subscription(topic_filter, qos),)), self.version))
        try:
            while not isinstance(answer := self.answer(), Suback):
                pass
        except Broken as error:
            raise Declined(f"SUBSCRIBE to {topic_filter}: {error}: may this user subscribe there?") from None
        code = answer.reason_codes[0]
        if code >= REFUSALS:
            raise Forbidden(f"SUBSCRIBE to {topic_filter}: refused with 0x{code:02x}: may this user subscribe there?")
        if code != qos:
            raise Broken(f"SUBSCRIBE: QoS {qos} was asked for, {code} granted")
        self.start_walking()

    def acknowledge(self, events: Any) -> None:
        """Send what the events ask for, in their order: PUBACK, PUBREC, PUBREL, PUBCOMP."""
        first = FIRST[events[:, 0]]
        owed, first = events[first > 0], first[first > 0]
        if not len(owed):
            return
        packets = np.empty((len(owed), 4), np.uint8)
        packets[:, 0], packets[:, 1] = first, 2
        packets[:, 2], packets[:, 3] = owed[:, 1] >> 8, owed[:, 1] & 255
        self.send(packets.tobytes())

    def release(self, packet_id: int) -> None:
        """Send PUBREL."""
        self.send(bytes((ANSWERS[kernels.RECEIVED], 2, packet_id >> 8, packet_id & 255)))

    def check(self, events: Any) -> None:
        """Raise Broken where the broker says why it closes, as MQTT 5.0 lets it."""
        closed = events[events[:, 0] == kernels.CLOSED]
        if len(closed):
            octets = self.octets[int(closed[0][1]) :]
            raise Declined(f"the broker disconnects with reason code {octets[2] if octets[1] else 0}")

    def close(self) -> None:
        """Say good-bye and close the socket when it was heard."""
        try:
            self.socket.settimeout(2)
            self.socket.sendall(encode(Disconnect(), self.version))
            while self.socket.recv(65536):
                pass
        except OSError:
            pass
        super().close()


class MqttBatch(Batch):
    """Rows of octets, each one PUBLISH, of which only the packet id and the payload's head change."""

    def __init__(
        self, rows: int, payload: bytes, topic: str, qos: int, version: Version = VERSION, *, retain: bool = False
    ) -> None:
        octets = encode(Publish(topic, payload, qos, retain, packet_id=1 if qos else None), version)
        at = len(octets) - len(payload)
        no_properties = 1 if version is Version.V5_0 else 0  # one octet that says so
        super().__init__(rows, octets, at, len(payload), at - no_properties - 2 if qos else -1)
