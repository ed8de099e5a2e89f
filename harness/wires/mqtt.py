"""A raw MQTT connection: exact octets out, decoded packets in. It validates nothing and hides nothing.

Verbs that begin with ``must_`` accuse the broker (Deviation); all others raise Blocked when the broker does not do
its part, because they are preconditions of what a test examines. Every step has a deadline.
"""

from typing import Any

from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.base import REPLY_DEADLINE, End, Ended
from mqproof.harness.wires.mqtt_link import Link, Refused, describe, told, within

FAILURE = 0x80  # reason codes from here on are failures (section 2.4)
SESSION_SECONDS = 120  # how long the sessions of tests live on, at most, when their removal fails
FENCE = b"mqproof-fence"


class MqttWire(Link):
    """One connection. ``connect`` takes the handshake; packet identifiers count up from 1."""

    _next_id = 0

    @property
    def is_5(self) -> bool:
        """Whether this wire speaks MQTT 5.0."""
        return self.version is Version.V5_0

    def new_id(self) -> int:
        """Return a packet identifier that this wire has not used."""
        self._next_id += 1
        return self._next_id

    # -- connect and disconnect ----------------------------------------------------------------------------------

    def hello(
        self,
        *,
        client_id: str | None = None,
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        properties: Properties = (),
    ) -> Connect:
        """Return a CONNECT with the target's credentials."""
        self.client_id = self.things.client_id() if client_id is None else client_id
        password = self.target.password.encode() if self.target.password is not None else None
        return Connect(
            self.client_id, clean_start, keep_alive, will, self.target.user, password, self.version, properties
        )

    def connect(self, *, session: bool = False, properties: Properties = (), **fields: Any) -> Connack:
        """Connect and return the CONNACK; ``session``: keep (and resume) the session beyond the connection.

        Raises Blocked unless the broker accepts.
        """
        if session:
            fields.setdefault("clean_start", False)
            if self.is_5 and not any(name == "session_expiry_interval" for name, _ in properties):
                properties = (("session_expiry_interval", SESSION_SECONDS), *properties)
        self.send(self.hello(properties=properties, **fields))
        connack = self.expect(Connack)
        if connack.reason_code:
            raise Blocked(f"the broker refused the connection: {describe(connack)}")
        return connack

    def disconnect(self, reason_code: int = 0, properties: Properties = ()) -> None:
        """Send DISCONNECT and wait until the broker has closed, or close ourselves. Raises nothing."""
        self.send(Disconnect(reason_code, properties))
        self.half_close()
        until = within(REPLY_DEADLINE)
        while not isinstance(self.next_packet(until), Ended):
            continue
        self.close()

    # -- subscribe and publish -----------------------------------------------------------------------------------

    def subscribe(
        self, *filters: str | Subscription, qos: int = 0, properties: Properties = (), **options: Any
    ) -> Suback:
        """Subscribe and return the SUBACK. Raises Blocked when it does not grant what was asked for."""
        wanted = tuple(
            Subscription(entry, qos, **options) if isinstance(entry, str) else entry for entry in filters
        )
        packet_id = self.new_id()
        self.send(Subscribe(packet_id, wanted, properties))
        suback = self.expect(Suback, packet_id=packet_id)
        if suback.reason_codes != tuple(entry.qos for entry in wanted):
            raise Blocked(f"the broker did not grant the subscription: {describe(suback)}")
        return suback

    def unsubscribe(self, *filters: str) -> Unsuback:
        """Unsubscribe and return the UNSUBACK. Raises Blocked."""
        packet_id = self.new_id()
        self.send(Unsubscribe(packet_id, filters))
        return self.expect(Unsuback, packet_id=packet_id)

    def start_publish(
        self, topic: str, payload: bytes = b"", *, qos: int = 0, packet_id: int | None = None, **fields: Any
    ) -> int:
        """Send a PUBLISH and wait for nothing; return its packet identifier (0 at QoS 0)."""
        if qos and packet_id is None:
            packet_id = self.new_id()
        self.send(Publish(topic, payload, qos, packet_id=packet_id, **fields))
        return packet_id or 0

    def publish(self, topic: str, payload: bytes = b"", *, qos: int = 0, **fields: Any) -> bytes:
        """Publish, take the whole handshake, and return the payload. At QoS 0, a ping shows that the broker got it.

        Raises Blocked, also for a failure code.
        """
        packet_id = self.start_publish(topic, payload, qos=qos, **fields)
        if qos == 0:
            self.ping()
        elif qos == 1:
            self._accepted(self.expect(Puback, packet_id=packet_id))
        else:
            self._accepted(self.expect(Pubrec, packet_id=packet_id))
            self.send(Pubrel(packet_id))
            self.expect(Pubcomp, packet_id=packet_id)
        return payload

    @staticmethod
    def _accepted(packet: Puback | Pubrec) -> None:
        if packet.reason_code >= FAILURE:
            raise Blocked(f"the broker refused the message: {describe(packet)}")

    def ping(self) -> None:
        """One round trip: what the broker received before, it has read. Raises Blocked."""
        self.send(Pingreq())
        self.expect(Pingresp)

    # -- receive -------------------------------------------------------------------------------------------------

    def take(self, number: int, seconds: float = REPLY_DEADLINE) -> list[Publish]:
        """Return, and acknowledge, the next messages. Raises Blocked when fewer come."""
        return [self._message(Blocked, seconds) for _ in range(number)]

    def must_take(self, number: int, seconds: float = REPLY_DEADLINE) -> list[Publish]:
        """Accuse the broker unless it delivers so many messages; return and acknowledge them."""
        return [self._message(Deviation, seconds) for _ in range(number)]

    def until(self, payload: bytes = FENCE) -> list[Publish]:
        """Return, and acknowledge, all messages up to the one with this payload, which is left out.

        Raises Blocked when it does not come.
        """
        messages: list[Publish] = []
        while (message := self._message(Blocked, REPLY_DEADLINE)).payload != payload:
            messages.append(message)
        self.finish()
        return messages

    def must_reach(self, payload: bytes = FENCE) -> list[Publish]:
        """Accuse the broker unless the message with this payload comes; return all up to and without it."""
        messages: list[Publish] = []
        while (message := self._message(Deviation, REPLY_DEADLINE)).payload != payload:
            messages.append(message)
        self.finish()
        return messages

    def finish(self) -> None:
        """Take the QoS 2 handshakes that are under way to their end: a round trip later, no PUBREL is missing."""
        for _ in range(2):
            self.ping()
            for pubrel in self.arrived(Pubrel):
                self.send(Pubcomp(pubrel.packet_id))

    def acknowledge(self, message: Publish) -> None:
        """Send what the message's QoS demands first: nothing, PUBACK or PUBREC."""
        if message.packet_id is not None:
            self.send(Puback(message.packet_id) if message.qos == 1 else Pubrec(message.packet_id))

    def _message(self, error: type[Blocked] | type[Deviation], seconds: float) -> Publish:
        while True:
            try:
                packet = self.await_packet(lambda packet: isinstance(packet, Publish | Pubrel), seconds)
            except Refused as refused:
                if error is Blocked:
                    raise Blocked(f"expected a message; got {refused}") from None
                raise Deviation("a message", str(refused)) from None
            if isinstance(packet, Publish):
                self.acknowledge(packet)
                return packet
            if isinstance(packet, Pubrel):
                self.send(Pubcomp(packet.packet_id))

    # -- endings -------------------------------------------------------------------------------------------------

    def must_accept(self) -> None:
        """Accuse the broker unless the connection still works."""
        self.send(Pingreq())
        self.must_receive(Pingresp)

    def must_end(self, *codes: int, seconds: float = REPLY_DEADLINE, fenced: bool = True) -> list[Packet]:
        """Accuse the broker unless it ends the connection; return what it sent before.

        A DISCONNECT or a refusing CONNACK may come first (5.0), with one of ``codes`` where some are given. A PINGREQ
        follows what was sent, so that a broker that goes on is found out by its answer; ``fenced`` False leaves it out.
        """
        if fenced:
            self.send(Pingreq())
        until, seen = within(seconds), list(self._inbox)
        while not isinstance(packet := self.next_packet(until), Ended):
            seen.append(packet)
            if isinstance(packet, Pingresp) and fenced:
                raise Deviation("the broker ends the connection", "it goes on, and answers a PINGREQ")
            self._check_code(packet, codes)
        if not packet.closed:
            raise Deviation("the broker ends the connection", str(packet))
        return seen

    @staticmethod
    def _check_code(packet: Packet, codes: tuple[int, ...]) -> None:
        if not codes or not isinstance(packet, Disconnect | Connack):
            return
        if packet.reason_code not in codes:
            names = " or ".join(f"{code:#04x}" for code in codes)
            raise Deviation(f"the connection ends, with {names} if a code is sent", describe(packet))

    def stays_silent(self, seconds: float = 0.1) -> list[Packet]:
        """Return what comes in a short time: weak evidence of absence, for where no ordered path exists."""
        until, seen = within(seconds), []
        while not isinstance(packet := self.next_packet(until), Ended):
            seen.append(packet)
        if packet.end is not End.TIMEOUT:
            raise Blocked(f"expected an open connection; got {packet}")
        self.transcript.add("!", b"", f"weak absence: {seconds:.1f} s of silence")
        return seen


__all__ = ["FENCE", "MqttWire", "Refused", "told"]
