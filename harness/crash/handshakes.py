"""A restart in the middle of QoS 2's handshake, at each of its steps (MQTT sections 4.3.3 and 4.4)."""

from collections.abc import Callable
from typing import Any, Literal

from mqproof.dissectors.mqtt.codec import Pubcomp, Publish, Pubrec, Pubrel
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.crash.history import History
from mqproof.harness.crash.load import Numbers, arrived, body_of, wait_for
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings

FENCE = b"fence"
PACKET_ID = 7
SENDING = ("PUBLISH sent", "PUBREC received", "PUBREL sent", "PUBCOMP received")
RECEIVING = ("PUBLISH received", "PUBREC sent", "PUBREL received", "PUBCOMP sent")
STEPS = (*SENDING, *RECEIVING)


class Pair:
    """A publisher and a subscriber at QoS 2 with kept sessions, and the history of one message between them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._names = ProbeNames()
        self._topic = self._names("handshake")
        self._ids = {"publisher": self._names.client_id(), "subscriber": self._names.client_id()}
        self._received: set[int] = set()
        self.history = History("exactly once")
        self.sessions_lost = 0
        self.publisher = self._connect("publisher", clean=True)
        self.subscriber = self._connect("subscriber", clean=True)
        self.subscriber.subscribe(self._topic, qos=2)
        self._numbers = Numbers(self.history)
        self.number = self._numbers.take()

    def _connect(self, who: str, *, clean: bool) -> MqttWire:
        wire = MqttWire(self._target, Version.V3_1_1, Belongings(self._names))
        return wire.connect(self._ids[who], keep=not clean, clean_start=False)

    def send(self, *, dup: bool = False) -> None:
        """Send the message."""
        self.publisher.send(Publish(self._topic, body_of(self.number), 2, packet_id=PACKET_ID, dup=dup))

    def expect(self, kind: type[Any]) -> None:
        """Wait for the broker's answer to the publisher. Raises Blocked."""
        self.publisher.expect(kind, packet_id=PACKET_ID)

    def release(self) -> None:
        """Send PUBREL."""
        self.publisher.send(Pubrel(PACKET_ID))

    def confirmed(self) -> None:
        """Note that the handshake is complete."""
        self._numbers.confirm(self.number)

    def deliver(self) -> None:
        """Go through the publisher's whole handshake."""
        self.send()
        self.expect(Pubrec)
        self.release()
        self.expect(Pubcomp)
        self.confirmed()

    def take(self) -> Publish:
        """Take the message without an answer. Raises Blocked."""
        packet = self.subscriber.expect(Publish)
        self._note(packet)
        return packet

    def again(self) -> None:
        """Connect both again, after the broker has come back."""
        self.publisher.close()
        self.subscriber.close()
        self.publisher = self._connect("publisher", clean=False)
        self.subscriber = self._connect("subscriber", clean=False)
        for wire in (self.publisher, self.subscriber):
            self.sessions_lost += not wire.connack.session_present
        if not self.subscriber.connack.session_present:
            self._received.clear()
            self.subscriber.subscribe(self._topic, qos=2)

    def drain(self) -> None:
        """Receive by the rules of QoS 2 until a fence comes, which the broker sends last. Raises Blocked."""
        self.publisher.deliver(self._topic, FENCE, qos=2, packet_id=PACKET_ID + 1)
        done: list[bool] = []

        def look() -> bool:
            packet = self.subscriber.expect(Publish) if not self.subscriber.inbox else self.subscriber.poll(0)
            if isinstance(packet, Publish):
                done.extend([True] if packet.payload == FENCE else [])
                self._note(packet)
            elif isinstance(packet, Pubrel):
                self._received.discard(packet.packet_id)
            self.subscriber.answer(packet)  # type: ignore[arg-type]
            return bool(done)

        if not wait_for(look, 10.0):
            raise Blocked("the fence did not come")

    def close(self) -> None:
        """Discard both sessions."""
        for who, wire in (("publisher", self.publisher), ("subscriber", self.subscriber)):
            wire.close()
            other = MqttWire(self._target, Version.V3_1_1, Belongings(self._names))
            other.connect(self._ids[who], clean_start=True)
            other.disconnect()

    def _note(self, packet: Publish) -> None:
        if packet.packet_id in self._received or packet.payload == FENCE:
            return
        self._received.add(packet.packet_id or 0)
        arrived(self.history, packet.payload, marked=packet.dup, connection=1)


def interrupted(target: Target, step: str, interrupt: Callable[[], None]) -> Pair:
    """Go as far as ``step``, interrupt, go on as section 4.4 asks. Raises Blocked."""
    pair = Pair(target)
    if step in SENDING:
        _as_sender(pair, step, interrupt)
    else:
        _as_receiver(pair, step, interrupt)
    pair.drain()
    return pair


def _as_sender(pair: Pair, step: str, interrupt: Callable[[], None]) -> None:
    place = SENDING.index(step)
    pair.send()
    pair.expect(Pubrec)  # so that it is certain how far the broker is
    if place >= 2:
        pair.release()
        pair.expect(Pubcomp)
    interrupt()
    pair.again()
    if place == 0:  # as if the PUBREC had been lost
        pair.send(dup=True)
        pair.expect(Pubrec)
    if place <= 2:  # at 2 as if the PUBCOMP had been lost
        pair.release()
        pair.expect(Pubcomp)
    pair.confirmed()


def _as_receiver(pair: Pair, step: str, interrupt: Callable[[], None]) -> None:
    place = RECEIVING.index(step)
    pair.deliver()
    packet = pair.take()
    if place >= 1:
        pair.subscriber.send(Pubrec(packet.packet_id or 0))
    if place >= 1:
        pair.subscriber.expect(Pubrel)
    if place == 3:
        pair.subscriber.send(Pubcomp(packet.packet_id or 0))
        pair.subscriber.ping()
    interrupt()
    pair.again()


def restarting(broker: LocalBroker, how: Literal["soft", "hard"]) -> Callable[[], None]:
    """Return what restarts the broker."""
    return lambda: broker.restart(how)
