"""A raw MQTT connection: exact octets out, decoded packets in. It validates nothing and hides nothing.

Verbs that begin with ``must_`` accuse the broker (Deviation); all others raise Blocked when the broker does not do
its part, because they are preconditions of what a test examines. Every step has a deadline.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
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
    prop,
)
from mqproof.harness.verdicts import Blocked, Deviation, Unsupported
from mqproof.harness.wires.base import End, Ended
from mqproof.harness.wires.mqtt_link import STEP, MqttLink, accept, deadline
from mqproof.harness.wires.mqtt_packets import as_properties, describe, is_like, made, wanted_text

GRACE = 0.1  # seconds, before patience: how long a broker which still answers may take to close
MESSAGE = 3.0  # seconds, before patience: how long a message that must come may take
QUIET = 0.04  # seconds of silence that end a weak proof of absence
FAREWELL = 1.0  # seconds, before patience: how long a broker may take to close after DISCONNECT
MOST = 65535  # Receive Maximum of who names none (5.0 sections 3.1.2.11.3, 3.2.2.3.3)
TOGETHER = 0.1  # seconds, before patience: how long a server may take for more of what it sends at once
KEPT = 120  # seconds, Session Expiry Interval of sessions that shall be kept in 5.0
KEEP_ALIVE = 600  # seconds: some servers take no client that names none

P = TypeVar("P")


class MqttWire(MqttLink):
    """One connection. ``connect`` opens the MQTT connection; until then only octets flow."""

    connack: Connack
    client_id: str
    _last_id = 0

    # -- packets -------------------------------------------------------------------------------------------------

    def expect(self, kind: type[P], **wanted: Any) -> P:
        """Return the next packet of this kind with these values; others stay in the inbox. Raises Blocked."""
        found: P | Ended = self._find(kind, wanted, STEP)
        if isinstance(found, Ended):
            raise Blocked(f"no {wanted_text(kind, wanted)}: {found}")
        return found

    def must_receive(
        self, kind: type[P], *, statement: str | tuple[str, ...] | None = None, within: float = STEP, **wanted: Any
    ) -> P:
        """Accuse the broker unless a packet of this kind with these values comes; return it."""
        found: P | Ended = self._find(kind, wanted, within)
        if isinstance(found, Ended):
            raise Deviation(wanted_text(kind, wanted), self._instead(found), statement)
        return found

    def take(self, number: int, *kinds: type[Any]) -> list[Any]:
        """Return the next packets of these kinds in their order of arrival. Raises Blocked when fewer come."""
        return [self._next_of(kinds) for _ in range(number)]

    def arrived(self, *kinds: type[Any]) -> list[Any]:
        """Take out of the inbox what has come of these kinds."""
        found = [packet for packet in self.inbox if isinstance(packet, kinds)]
        self.inbox = deque(packet for packet in self.inbox if not isinstance(packet, kinds))
        return found

    def _next_of(self, kinds: tuple[type[Any], ...]) -> Any:
        found = self._find(kinds, {}, STEP)
        if isinstance(found, Ended):
            raise Blocked(f"no {wanted_text(kinds, {})}: {found}")
        return found

    def _find(self, kind: Any, wanted: Mapping[str, Any], seconds: float) -> Any:
        for packet in self.inbox:
            if is_like(packet, kind, wanted):
                self.inbox.remove(packet)
                return packet
        until = deadline(seconds)
        while not isinstance(arrived := self.arrive(until), Ended):
            if is_like(arrived, kind, wanted):
                return arrived
            self.inbox.append(arrived)
        return arrived

    def _instead(self, ended: Ended) -> str:
        others = "; ".join(describe(packet) for packet in list(self.inbox)[-3:])
        return f"{others}; then {ended}" if others else str(ended)

    # -- connecting ----------------------------------------------------------------------------------------------

    def connect_packet(self, client_id: str | None = None, *, keep: bool = False, **values: Any) -> Connect:
        """Return a CONNECT with the target's login and a new client id; ``keep``: for a session that is stored."""
        self.client_id = self.belongings.names.client_id() if client_id is None else client_id
        login = {"user_name": self.target.user, "password": _octets(self.target.password)}
        values = {"keep_alive": KEEP_ALIVE} | login | values
        if keep:
            values.setdefault("clean_start", False)
        properties = as_properties(values.pop("properties", ()))
        if keep and self.is_v5 and prop(properties, "session_expiry_interval") is None:
            properties = (*properties, ("session_expiry_interval", KEPT))
        return Connect(self.client_id, version=self.version, properties=properties, **values)

    def connect(self, client_id: str | None = None, *, keep: bool = False, **values: Any) -> "MqttWire":
        """Send CONNECT and await that it is accepted. Raises Blocked, and Unsupported where no session is kept."""
        self.send(self.connect_packet(client_id, keep=keep, **values))
        self.connack = self.expect(Connack)
        accept(self.connack, keep=keep)
        return self

    def disconnect(self, reason_code: int = 0, properties: Any = ()) -> None:
        """Send DISCONNECT, give the broker time to read it and to close, and close.

        What is published next finds the client absent: until the broker has read DISCONNECT, it may begin deliveries.
        """
        self.send(made(Disconnect, reason_code=reason_code, properties=properties))
        until = deadline(FAREWELL)
        while not isinstance(packet := self.arrive(until), Ended):
            self.inbox.append(packet)
        self.close()

    def leave(self) -> None:
        """End politely, so that no will is published; for the end of a test."""
        if self.ended is None:
            self._connection.send(b"\xe0\x00")
        self.close()

    # -- subscribing ---------------------------------------------------------------------------------------------

    def packet_id(self) -> int:
        """Return a packet identifier that this wire has not used yet."""
        self._last_id += 1
        return self._last_id

    def ask(self, *filters: str | Subscription, qos: int = 0, properties: Any = (), **options: Any) -> Suback:
        """Send SUBSCRIBE and return its SUBACK, whatever it says. Raises Blocked."""
        entries = tuple(
            entry if isinstance(entry, Subscription) else Subscription(entry, qos, **options) for entry in filters
        )
        number = self.packet_id()
        self.send(Subscribe(number, entries, as_properties(properties)))
        return self.expect(Suback, packet_id=number)

    def subscribe(self, *filters: str | Subscription, qos: int = 0, properties: Any = (), **options: Any) -> Suback:
        """Subscribe. Raises Blocked when it is refused, Unsupported when less QoS is granted than asked for."""
        suback = self.ask(*filters, qos=qos, properties=properties, **options)
        self._must_grant(filters, qos, suback)
        return suback

    def _must_grant(self, filters: Sequence[str | Subscription], qos: int, suback: Suback) -> None:
        for entry, code in zip(filters, suback.reason_codes, strict=False):
            wanted = entry.qos if isinstance(entry, Subscription) else qos
            if code >= 0x80:
                raise Blocked(f"the subscription to {entry} is refused with 0x{code:02X}")
            if code < wanted:
                raise Unsupported(f"the broker grants QoS {code} where {wanted} is asked for (SUBACK, section 3.9.3)")

    def unsubscribe(self, *filters: str, properties: Any = ()) -> Unsuback:
        """Unsubscribe and return the UNSUBACK. Raises Blocked."""
        number = self.packet_id()
        self.send(Unsubscribe(number, filters, as_properties(properties)))
        return self.expect(Unsuback, packet_id=number)

    # -- publishing ----------------------------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: bytes = b"message", *, qos: int = 0, packet_id: int | None = None, **values: Any
    ) -> int:
        """Send PUBLISH and wait for nothing; return its packet identifier, 0 at QoS 0."""
        number = (self.packet_id() if packet_id is None else packet_id) if qos else None
        self.send(made(Publish, topic=topic, payload=payload, qos=qos, packet_id=number, **values))
        return number or 0

    def deliver(self, topic: str, payload: bytes = b"message", *, qos: int = 0, **values: Any) -> int:
        """Publish and go through the acknowledgements, at QoS 0 a round trip; return the code.

        Raises Blocked, and Unsupported where the server has shown that it knows no QoS 2: that it must answer it in
        3.1.1 all the same is examined by tests of their own.
        """
        self.require_qos(qos)
        number = self.publish(topic, payload, qos=qos, **values)
        if qos == 0:
            self.ping()
            return 0
        if qos == 1:
            return self._accepted(self.expect(Puback, packet_id=number))
        code = self._accepted(self.expect(Pubrec, packet_id=number))
        self.send(Pubrel(number))
        self.expect(Pubcomp, packet_id=number)
        return code

    def require_qos(self, qos: int) -> None:
        """Raise Unsupported for QoS 2 where the server has shown that it knows none."""
        if qos == 2 and self.target.capabilities and "qos-2" not in self.target.capabilities:
            raise Unsupported("the server knows no QoS 2")

    def _accepted(self, answer: Puback | Pubrec) -> int:
        if answer.reason_code >= 0x80:
            raise Blocked(f"the broker does not take a message: {describe(answer)}")
        return answer.reason_code

    def ping(self) -> None:
        """Make a round trip: what was sent before has been read. Raises Blocked."""
        self.send(Pingreq())
        self.expect(Pingresp)

    @property
    def window(self) -> int:
        """How many messages of QoS 1 and 2 the server takes at once: its Receive Maximum (5.0 section 3.2.2.3.3)."""
        given = prop(self.connack.properties, "receive_maximum")
        return MOST if given is None else int(given)

    def deliver_all(self, topics: Sequence[str], payloads: Sequence[bytes], *, qos: int) -> None:
        """Publish without waiting, as far as the server's Receive Maximum lets, and finish the exchanges.

        Raises Blocked and Unsupported as ``deliver`` does.
        """
        self.require_qos(qos)
        messages = list(zip(topics, payloads, strict=True))
        while messages:
            begun, messages = messages[: self.window], messages[self.window :]
            for topic, payload in begun:
                self.publish(topic, payload, qos=qos)
            answers = self.take(len(begun), Puback if qos == 1 else Pubrec) if qos else []
            for answer in answers:
                self._accepted(answer)
                self.send(*[Pubrel(answer.packet_id)] if qos == 2 else [])
            self.take(len(answers) if qos == 2 else 0, Pubcomp)

    # -- receiving messages --------------------------------------------------------------------------------------

    def answer(self, packet: Packet) -> None:
        """Acknowledge as section 4.3 asks; packets that need no answer are left alone."""
        if isinstance(packet, Publish) and packet.qos and packet.packet_id:
            self.send((Puback if packet.qos == 1 else Pubrec)(packet.packet_id))
        elif isinstance(packet, Pubrel):
            self.send(Pubcomp(packet.packet_id))

    def messages(
        self,
        done: Callable[[list[Publish]], bool] = lambda so_far: False,
        seconds: float = STEP,
        *,
        before: type[Any] | None = None,
    ) -> tuple[list[Publish], Ended | None]:
        """Receive and acknowledge messages until ``done``; return them, and how the wait ended if it was before.

        ``before``: a kind of packet that ends the wait as well, and stays in the inbox.
        """
        found: list[Publish] = []
        held: list[Packet] = []
        until = deadline(seconds)
        ended: Ended | None = None
        while not done(found) and ended is None:
            packet = self.poll(until)
            if isinstance(packet, Ended):
                ended = packet
            elif isinstance(packet, Publish | Pubrel):
                self.answer(packet)
                found += [packet] if isinstance(packet, Publish) else []
            else:
                held.append(packet)
                if before is not None and isinstance(packet, before):
                    break
        self.inbox.extendleft(reversed(held))
        return found, ended

    def until(self, payload: bytes) -> list[Publish]:
        """Receive and acknowledge messages up to the one with this payload, the fence. Raises Blocked."""
        found, ended = self.messages(lambda so_far: bool(so_far) and so_far[-1].payload == payload)
        if ended is not None:
            raise Blocked(f"the fence {payload!r} did not come: {ended}")
        return found

    def must_get(
        self, number: int, *, statement: str | tuple[str, ...] | None = None, within: float = MESSAGE
    ) -> list[Publish]:
        """Accuse the broker unless so many messages come; acknowledge and return them."""
        found, ended = self.messages(lambda so_far: len(so_far) >= number, within)
        if ended is not None:
            raise Deviation(f"{number} messages", f"{[item.payload for item in found]}, then {ended}", statement)
        return found

    def settle(self, publisher: "MqttWire", *, at_least: int = 0) -> list[Publish]:
        """Receive and acknowledge what comes until all that ``publisher`` sent before must have come.

        It ends at a fence on a topic of its own, a round trip and a short quiet period: a weak proof of absence.
        Where ``at_least`` messages do not come, it waits for the whole deadline. Raises Blocked without the fence.
        """
        fence, number = self.belongings.names("fence"), self.packet_id()
        self.send(Subscribe(number, (Subscription(fence, 1),)))
        got = self.messages(before=Suback)[0]  # some servers answer only when retained messages are acknowledged
        self._must_grant((fence,), 1, self.expect(Suback, packet_id=number))
        publisher.deliver(fence, b"fence", qos=1)

        def done(so_far: list[Publish]) -> bool:
            others: int = sum(packet.topic != fence for packet in so_far)
            return len(so_far) > others and others + len(got) >= at_least

        more, ended = self.messages(done, MESSAGE)
        got += more
        if not any(packet.topic == fence for packet in got):
            raise Blocked(f"the fence did not come: {ended}")
        if ended is None:
            self.ping()
            got += self.quiet()
        self.unsubscribe(fence)
        return [packet for packet in got if packet.topic != fence]

    def opened(self, at_most: int) -> list[Publish]:
        """Return up to ``at_most`` messages that are in flight together, unacknowledged.

        A server may send one at a time (3.1.1 section 4.6, 5.0 section 4.9). Raises Blocked when it closes; what cannot
        be decoded is left to the caller, as ``ended``.
        """
        found: list[Publish] = []
        while len(found) < at_most and not isinstance(
            packet := self._find(Publish, {}, TOGETHER if found else STEP), Ended
        ):
            found.append(packet)
        if self.ended is not None and self.ended.closed:
            raise Blocked(f"no PUBLISH: {self.ended}")
        return found

    def quiet(self, seconds: float = QUIET) -> list[Publish]:
        """Return the messages of a short time in which nothing is to be expected: weak absence."""
        self.note("weak absence: a round trip and a short quiet period")
        return self.messages(seconds=seconds)[0]

    # -- endings -------------------------------------------------------------------------------------------------

    def must_close(
        self,
        codes: Collection[int] | None = None,
        *,
        probe: bool = True,
        lenient: bool = False,
        statement: str | tuple[str, ...] | None = None,
    ) -> int | None:
        """Accuse the broker unless it ends the connection.

        In 5.0 DISCONNECT or CONNACK may come first, with one of ``codes`` where given, else any of 0x80 or above;
        return that code. ``probe``: a PINGREQ behind, so that a broker which goes on is found out at once.
        ``lenient``: 5.0 leaves it to the server how closely it looks (section 4.13.1), so that a server of 5.0 may
        also overlook the error: that is noted as a finding.
        """
        ended, code = self.reaction(probe=probe)
        if lenient and self.is_v5 and not ended.closed and code is None:
            self.note("finding: the broker tolerates this")
            return None
        if not ended.closed:
            actual = "it answers and stays open" if ended.end is End.TIMEOUT and probe else str(ended)
            raise Deviation("the broker to close the connection", actual, statement)
        if code is not None and (code not in codes if codes else code < 0x80 and self.is_v5):
            legal = ", ".join(f"0x{each:02X}" for each in sorted(codes)) if codes else "0x80 or above"
            raise Deviation(f"a reason code of {legal}", f"0x{code:02X}", statement)
        return code

    def reaction(self, *, probe: bool = True) -> tuple[Ended, int | None]:
        """Return how the broker ends the connection (or does not), and the code that it gave before.

        What it had sent before, acknowledgements included, stays in the inbox.
        """
        if probe:
            self.send(Pingreq())
        until, code = deadline(), None
        while not isinstance(packet := self.arrive(until), Ended):
            if isinstance(packet, Pingresp):
                until = min(until, deadline(GRACE))
            elif isinstance(packet, Connack) or (isinstance(packet, Disconnect) and self.is_v5):
                code = packet.reason_code  # DISCONNECT of 3.1.1 has none
            self.inbox.append(packet)
        if packet.end is End.MALFORMED:
            packet = self.rest()[1]  # what cannot be decoded is examined elsewhere; here counts whether it closes
        return packet, code

    def must_stay(self, statement: str | tuple[str, ...] | None = None) -> None:
        """Accuse the broker unless it still answers."""
        self.send(Pingreq())
        self.must_receive(Pingresp, statement=statement)


def _octets(password: str | None) -> bytes | None:
    return None if password is None else password.encode()
