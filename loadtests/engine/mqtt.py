"""The engine's MQTT 3.1.1: publish in batches at each QoS, subscribe and acknowledge in batches."""

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
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.wire import Broken, Scratch, Wire

VERSION = Version.V3_1_1
IDS = 65535  # packet ids there are
ANSWERS = {  # what is answered to what: kind of event -> the first octet of PUBACK, PUBREC, PUBREL, PUBCOMP
    kernels.OWED_ACK: 0x40,
    kernels.OWED_REC: 0x50,
    kernels.RECEIVED: 0x62,
    kernels.RELEASED: 0x70,
}


class MqttWire(Wire):
    """An open connection with a clean session, unless ``clean`` says otherwise."""

    def __init__(
        self, target: Target, scratch: Scratch, client_id: str, *, clean: bool = True, keep_alive: int = 0,
        buffer: int = 1 << 20,
    ) -> None:  # fmt: skip
        super().__init__(target, scratch, Decoder(VERSION), kernels.walk_mqtt, buffer)
        password = target.password.encode() if target.password is not None else None
        connect = Connect(client_id, clean, keep_alive, user_name=target.user, password=password)
        self.send(encode(connect, VERSION))
        answer = self.answer()
        if not isinstance(answer, Connack) or answer.reason_code:
            raise Broken(f"CONNECT: refused with {getattr(answer, 'reason_code', 'something else')}")
        self.session_present = answer.session_present

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe; messages come by ``receive``."""
        self.send(encode(Subscribe(1, (Subscription(topic_filter, qos),)), VERSION))
        while not isinstance(answer := self.answer(), Suback):
            pass
        if answer.reason_codes[0] != qos:
            raise Broken(f"SUBSCRIBE: QoS {qos} was asked for, {answer.reason_codes[0]} granted")
        self.start_walking()

    def acknowledge(self, events: Any) -> None:
        """Send what the events ask for, in their order: PUBACK, PUBREC, PUBREL, PUBCOMP."""
        owed = events[np.isin(events[:, 0], list(ANSWERS))]
        if not len(owed):
            return
        packets = np.empty((len(owed), 4), np.uint8)
        for kind, first in ANSWERS.items():
            packets[owed[:, 0] == kind, 0] = first
        packets[:, 1] = 2
        packets[:, 2], packets[:, 3] = owed[:, 1] >> 8, owed[:, 1] & 255
        self.send(packets.tobytes())

    def release(self, packet_id: int) -> None:
        """Send PUBREL."""
        self.send(bytes((ANSWERS[kernels.RECEIVED], 2, packet_id >> 8, packet_id & 255)))

    def check(self, events: Any) -> None:
        """Nothing: an MQTT 3.1.1 broker closes without a word."""

    def close(self) -> None:
        """Say good-bye and close the socket when it was heard."""
        try:
            self.socket.settimeout(2)
            self.socket.sendall(encode(Disconnect(), VERSION))
            while self.socket.recv(65536):
                pass
        except OSError:
            pass
        super().close()


class MqttBatch:
    """Rows of octets, each one PUBLISH, of which only the packet id and the payload's head change."""

    def __init__(self, rows: int, payload: int, topic: str, qos: int) -> None:
        packet = Publish(topic, bytes(payload), qos, packet_id=1 if qos else None)
        octets = encode(packet, VERSION)
        self.rows: Any = np.tile(np.frombuffer(octets, np.uint8), (rows, 1))
        self.payload = payload
        self.at = len(octets) - payload
        self.id_at = self.at - 2 if qos else -1

    def lay_out(self, count: int, publisher: int, first: int, intended: int, step: float) -> memoryview:
        """Return the octets of ``count`` messages, ready to be sent."""
        kernels.fill(self.rows, count, self.at, self.payload, publisher, first, intended, step, self.id_at)
        return memoryview(self.rows[:count]).cast("B")
