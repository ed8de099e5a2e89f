"""An MQTT load at QoS 1 or 2: sessions are kept, what was not acknowledged is sent again as section 4.4 asks."""

import time
from typing import Any

from mqproof.dissectors.mqtt.codec import Packet, Pingreq, Puback, Pubcomp, Publish, Pubrec, Pubrel
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.crash.history import History
from mqproof.harness.crash.load import PACE, Lost, Numbers, Worker, arrived, body_of
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.base import End, Ended
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings

ANSWER = 2.0  # seconds after which a broker that says nothing is given up
EXPIRY = 3600  # seconds that a session outlives its connection, MQTT 5.0 section 3.1.2.11.2


class _MqttWorker(Worker):
    """What publisher and subscriber share. ``sessions_lost``: how often the broker had forgotten the session."""

    def __init__(self, target: Target, version: Version, topic: str, qos: int, history: History) -> None:
        super().__init__(history)
        self._target, self._version, self._topic, self._qos = target, version, topic, qos
        self._names = ProbeNames()
        self.client_id = self._names.client_id()
        self._wire: MqttWire | None = None
        self._was_connected = False
        self.sessions_lost = 0

    @property
    def wire(self) -> MqttWire:
        """The connection. Raises Lost where there is none."""
        if self._wire is None:
            raise Lost
        return self._wire

    def connect(self) -> None:
        """Connect to the kept session. Raises Blocked."""
        self._wire = MqttWire(self._target, self._version, Belongings(self._names))
        more: dict[str, Any] = {"clean_start": False}
        if self._version is Version.V5_0:
            more["properties"] = (("session_expiry_interval", EXPIRY),)
        self._wire.connect(self.client_id, keep=True, **more)
        self.resumed = self._wire.connack.session_present
        self.sessions_lost += self._was_connected and not self.resumed
        self._was_connected = True

    def leave(self) -> None:
        """Reset the connection."""
        if self._wire is not None:
            self._wire.cut()
            self._wire = None

    def next_packet(self, seconds: float) -> Packet | None:
        """Return the next packet, None when none comes in time. Raises Lost."""
        self.wire.transcript.lines.clear()
        self.wire.heard.clear()
        packet = self.wire.poll(time.monotonic() + seconds)
        if isinstance(packet, Ended):
            if packet.end is End.TIMEOUT:
                return None
            raise Lost
        return packet


class MqttPublisher(_MqttWorker):
    """Publishes one message at a time and completes its handshake, over as many connections as that takes."""

    def __init__(self, target: Target, version: Version, topic: str, qos: int, history: History) -> None:
        super().__init__(target, version, topic, qos, history)
        self._numbers = Numbers(history)
        self._number = -1
        self._stage = "done"  # published: PUBLISH is unacknowledged; released: PUBREL is
        self._packet_id = 0

    def connect(self) -> None:
        """Connect, and send again what the session still owes."""
        super().connect()
        if self._stage == "published":
            self._publish(dup=True)
        elif self._stage == "released":
            self.wire.send(Pubrel(self._packet_id))

    def work(self) -> None:
        """Publish a message, or go on with the one at hand. Raises Lost."""
        if self._stage == "done":
            self._number = self._numbers.take()
            self._packet_id = self._number % 60000 + 1
            self._stage = "published"
            self._publish(dup=False)
        packet = self.next_packet(ANSWER)
        if packet is None:
            raise Lost
        if isinstance(packet, (Puback, Pubrec, Pubcomp)) and packet.packet_id == self._packet_id:
            self._acknowledged(packet)

    def _acknowledged(self, packet: Puback | Pubrec | Pubcomp) -> None:
        if packet.reason_code >= 0x80 and not isinstance(packet, Pubcomp):
            self.history.sent[self._number].refused = True
        elif isinstance(packet, Pubrec):
            self._stage = "released"
            self.wire.send(Pubrel(self._packet_id))
            return
        else:
            self._numbers.confirm(self._number)
        self._stage = "done"
        self.pause(PACE)

    def _publish(self, *, dup: bool) -> None:
        self.wire.send(Publish(self._topic, body_of(self._number), self._qos, packet_id=self._packet_id, dup=dup))


class MqttSubscriber(_MqttWorker):
    """Receives by the rules of its QoS: at QoS 2 a repeated PUBLISH is one message until its PUBREL."""

    def __init__(self, target: Target, version: Version, topic: str, qos: int, history: History) -> None:
        super().__init__(target, version, topic, qos, history)
        self._received: set[int] = set()  # packet ids at QoS 2 before their PUBREL

    def connect(self) -> None:
        """Connect; subscribe where the session does not know it yet. Raises Blocked."""
        super().connect()
        if not self.resumed:
            self._received.clear()
            self.wire.subscribe(self._topic, qos=self._qos)
        self._heard, self._asked = time.monotonic(), False

    def work(self) -> None:
        """Take and answer a packet. Raises Lost."""
        packet = self.next_packet(0.1)
        if packet is None:
            self._ping()
            return
        self._heard, self._asked = time.monotonic(), False
        if isinstance(packet, Publish):
            self._take(packet)
        elif isinstance(packet, Pubrel):
            self._received.discard(packet.packet_id)
        self.wire.answer(packet)

    def _take(self, packet: Publish) -> None:
        if packet.qos == 2 and packet.packet_id in self._received:
            return
        if packet.qos == 2 and packet.packet_id:
            self._received.add(packet.packet_id)
        arrived(self.history, packet.payload, marked=packet.dup, connection=self.connections)

    def _ping(self) -> None:
        """Ask for a sign of life after a second of silence. Raises Lost when none comes."""
        silence = time.monotonic() - self._heard
        if silence > 1.0 and not self._asked:
            self.wire.send(Pingreq())
            self._asked = True
        if silence > 1.0 + ANSWER:
            raise Lost


def remove_session(target: Target, version: Version, client_id: str) -> None:
    """Discard a session that was kept. Raises Blocked."""
    wire = MqttWire(target, version, Belongings(ProbeNames()))
    try:
        wire.connect(client_id, clean_start=True)
        wire.disconnect()
    except Blocked:
        wire.close()

