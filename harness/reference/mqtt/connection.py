"""One client's connection, without its socket: octets in, octets out (MQTT 3.1.1 and 5.0 sections 3.1, 3.12 to 3.15).

Choices the text leaves open: a first packet that is not CONNECT gets no answer; a malformed 5.0 CONNECT is answered by
CONNACK with its reason code; errors after CONNACK are answered by DISCONNECT in 5.0 and by closing alone in 3.1.1.

What makes a packet malformed, the codec knows: strings (MQTT-1.5.4-1, -2, MQTT-1.5.7-1; 3.1.1: MQTT-1.5.3-1, -2), flags
and reserved bits (MQTT-2.1.3-1, MQTT-3.1.2-3, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.8.3-5, MQTT-3.10.1-1, MQTT-3.14.1-1,
MQTT-3.15.1-1; 3.1.1: MQTT-2.2.2-2, MQTT-3.8.3-4), packet identifiers of 0, and properties where they must not be.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
    packet_name,
    prop,
)
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType, ReasonCode, Version
from mqproof.harness.reference.mqtt import handshake
from mqproof.harness.reference.mqtt.auth import METHOD, Exchange, check_method, check_same_method
from mqproof.harness.reference.mqtt.broker import Broker
from mqproof.harness.reference.mqtt.handshake import Peer
from mqproof.harness.reference.mqtt.receiving import Receiver
from mqproof.harness.reference.mqtt.refusal import Refusal
from mqproof.harness.reference.mqtt.sending import Sender, TooLarge, Transport
from mqproof.harness.reference.mqtt.session import Session
from mqproof.harness.reference.mqtt.timers import Timer

# What a client may say in DISCONNECT: the "sent by" column of section 3.14.2.1.
CLIENT_DISCONNECTS = frozenset({0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99})


def _defined(code: int, kind: PacketType) -> int:
    """Only what the packet's table has: MQTT-3.2.2-8, MQTT-3.14.2-1."""
    return code if code in REASON_CODES[kind] else ReasonCode.PROTOCOL_ERROR


class Phase(Enum):
    """How far a connection has come."""

    NEW = auto()
    AUTHENTICATING = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection:
    """A network connection to the broker. The driver calls ``receive`` and, when the peer is gone, ``lost``."""

    def __init__(self, broker: Broker, transport: Transport) -> None:
        self.broker = broker
        self.phase = Phase.NEW
        self.peer: Peer | None = None
        self.writable = True  # the driver says when the transport's buffer is full
        self._transport = transport
        self._sender = Sender(transport, broker.defective)
        self._decoder = Decoder(Version.V3_1_1, max_packet_size=broker.limits.maximum_packet_size)
        self._session: Session | None = None
        self._receiver: Receiver | None = None
        self._connect: Connect | None = None
        self._exchange: Exchange | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {}
        self._heard = broker.wake()  # nobody may have read the clock for hours
        self._silence: Timer = broker.timers.at(broker.now + broker.limits.connect_timeout, self._never_connected)

    @property
    def closed(self) -> bool:
        """Whether nothing more is read or written."""
        return self.phase is Phase.CLOSED

    # -- what the driver calls

    def receive(self, data: bytes) -> None:
        """Take octets from the client and do everything they ask for.

        What the broker detects as malformed or against the protocol closes the connection (MQTT-4.13.1-1; 3.1.1:
        MQTT-4.8.0-1); nothing behind it is handled (MQTT-3.1.4-6; 3.1.1: MQTT-3.1.4-5).
        """
        if self.closed:
            return
        self.broker.wake()
        self._decoder.feed(data)
        try:
            while not self.closed and (packet := self._decoder.next()) is not None:
                self._heard = self.broker.now
                self._handle(packet)
                self.broker.flush()
        except Malformed as error:
            self._refuse_malformed(error)
        except Refusal as refusal:
            self._refuse(refusal)
        except TooLarge:
            self.close()
        self.broker.flush()

    def lost(self) -> None:
        """The network connection ended without our doing."""
        self.broker.wake()
        if self._session is not None and self.broker.defective("will-not-after-cut"):
            self._session.will = None
        self.close()
        self.broker.flush()

    def resume_writing(self) -> None:
        """The transport takes octets again."""
        self.writable = True
        self.broker.wake()
        self.pump()

    # -- sending

    def send(self, packet: Packet) -> None:
        """Send a packet that is not a PUBLISH. Raises TooLarge."""
        self._sender.send(packet)

    def pump(self) -> None:
        """Send the messages that wait, as far as window and transport allow."""
        session, now = self._session, self.broker.now
        while session is not None and self.writable and self.phase is Phase.OPEN:
            delivery = session.outbox.take(now)
            if delivery is None:
                return
            try:
                self._sender.publish(delivery, now)
            except TooLarge:
                if self.broker.defective("too-large-blocks"):
                    self.close()
                elif delivery.packet_id is not None:
                    session.outbox.finish(delivery.packet_id)  # MQTT-3.1.2-25

    # -- endings

    def close(self) -> None:
        """Close the network connection; the session goes on without it (a will stays unless it was removed)."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._silence.cancel()
        self._transport.close()
        session, self._session = self._session, None
        if session is not None and session.connection is self:
            self.broker.sessions.closed(session)

    def disconnect(self, code: int, text: str) -> None:
        """Say DISCONNECT in 5.0, where the client is open to it (MQTT-3.14.0-1), and close (MQTT-3.14.4-2)."""
        if self.phase is Phase.OPEN and self.peer and self.peer.version is Version.V5_0:
            try:
                self.send(Disconnect(_defined(code, PacketType.DISCONNECT), (("reason_string", text),)))
            except TooLarge:
                pass
        self.close()

    def quota_exceeded(self) -> None:
        """The session holds more than it may: section 4.13.2."""
        self.disconnect(ReasonCode.QUOTA_EXCEEDED, "too many messages wait for this client")

    def _refuse(self, refusal: Refusal) -> None:
        if self.phase in (Phase.NEW, Phase.AUTHENTICATING) and self._connect is not None:
            self._refuse_connect(self._connect.version, refusal)
        else:
            self.disconnect(refusal.code, refusal.text)

    def _refuse_connect(self, version: Version, refusal: Refusal) -> None:
        """CONNACK with session present 0 (MQTT-3.2.2-6) where there is one to say, then close (MQTT-3.2.2-7)."""
        v5 = version is Version.V5_0
        code = refusal.code if v5 else refusal.return_code
        if code is not None:
            try:
                code = _defined(code, PacketType.CONNACK) if v5 else code
                self.send(Connack(False, code, refusal.properties if v5 else ()))
            except TooLarge:
                pass
        self.close()

    def _refuse_malformed(self, error: Malformed) -> None:
        """Section 4.13.1; 3.1.1: MQTT-3.1.4-1, MQTT-4.8.0-1."""
        code = error.code or ReasonCode.MALFORMED_PACKET
        if self.phase is not Phase.NEW:
            self._refuse(Refusal(code, error.detail))
        elif code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION and error.rule.endswith("MQTT-3.1.2-2"):
            self._refuse_connect(Version.V3_1_1, Refusal(code, error.detail, 1))  # MQTT-3.1.2-2 of 3.1.1
        elif error.rule.startswith(Version.V5_0.spec) and error.offset > 1:
            self._sender.know(Peer(Version.V5_0, "", False, 0, 0))
            self._refuse_connect(Version.V5_0, Refusal(code, error.detail))
        else:
            self.close()

    # -- time

    def _never_connected(self) -> None:
        self._refuse(Refusal(ReasonCode.UNSPECIFIED_ERROR, "neither CONNECT nor AUTH came in time"))

    def _check_silence(self) -> None:
        """One and a half keep-alive times without a packet: MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24."""
        due = self._heard + self._patience()
        if self.broker.now >= due:
            self.disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT, "keep alive timeout")
        else:
            self._silence = self.broker.timers.at(due, self._check_silence)

    def _patience(self) -> float:
        keep_alive = self.peer.keep_alive if self.peer else 0
        return keep_alive * (0.5 if self.broker.defective("keep-alive-early") else 1.5)

    # -- packets

    def _handle(self, packet: Packet) -> None:
        if self.phase is Phase.OPEN:
            handler = self._handlers.get(type(packet))
            if handler is None:
                raise Refusal(ReasonCode.PROTOCOL_ERROR, f"{packet_name(packet)} from a client")
            handler(packet)
        elif self.phase is Phase.AUTHENTICATING:
            self._continue(packet)
        elif isinstance(packet, Connect):
            self._connected(packet)
        else:
            self.close()  # MQTT-3.1.0-1

    def _connected(self, packet: Connect) -> None:
        self._connect = packet
        handshake.check_version(packet)
        self.peer = handshake.peer_of(self.broker, packet)
        self._sender.know(self.peer)
        method = check_method(packet.properties)
        if packet.version is not Version.V5_0:
            self._decoder.max_packet_size = self.broker.limits.maximum_packet_size_v3
        handshake.check_connect(self.broker, packet)
        handshake.check_login(self.broker, packet)
        if method is None:
            self._accept(packet, self.peer)
            return
        self.phase = Phase.AUTHENTICATING
        self._exchange = Exchange(prop(packet.properties, "authentication_data"))
        self.send(self._exchange.challenge())

    def _continue(self, packet: Packet) -> None:
        """Between CONNECT and CONNACK only AUTH and DISCONNECT may come: MQTT-3.1.2-30."""
        if isinstance(packet, Disconnect):
            self.close()
            return
        if not isinstance(packet, Auth) or not self._exchange or not self._connect or not self.peer:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, f"{packet_name(packet)} during authentication")
        self._exchange.answer(packet)
        self._exchange = None
        self._accept(self._connect, self.peer)

    def _accept(self, packet: Connect, peer: Peer) -> None:
        """Section 3.1.4: take over, clean start, CONNACK (MQTT-3.1.4-4, -5), then what the session still has to send.

        Nothing but AUTH went out before (MQTT-3.2.0-1, -2; 3.1.1: MQTT-3.2.0-1).
        """
        broker = self.broker
        self._take_over(peer.client_id)
        session, present = broker.sessions.open(peer.client_id, packet.clean_start, peer.expiry)
        session.connection = self
        session.will = handshake.stored_will(broker, packet, peer.client_id)
        self._session = session
        self._receiver = Receiver(self, session, peer.version)
        self._handlers = self._dispatch(self._receiver)
        self.phase = Phase.OPEN
        self._silence.cancel()
        if peer.keep_alive and not broker.defective("keep-alive-ignored"):
            self._silence = broker.timers.at(broker.now + self._patience(), self._check_silence)
        method = check_method(packet.properties)
        v5 = peer.version is Version.V5_0
        self.send(Connack(present, 0, handshake.connack_properties(broker, packet, peer, method) if v5 else ()))
        if broker.defective("expiry-of-started"):
            session.outbox.expire_started(broker.now)
        for packet_id in session.outbox.begin(peer.receive_maximum):
            self.send(Pubrel(packet_id))  # MQTT-4.4.0-1
        broker.resume(session)

    def _take_over(self, client_id: str) -> None:
        """MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2."""
        older = self.broker.sessions.get(client_id)
        if older is None or older.connection is None or self.broker.defective("takeover-ignored"):
            return
        older.connection.disconnect(ReasonCode.SESSION_TAKEN_OVER, "another connection has this client identifier")

    def _dispatch(self, receiver: Receiver) -> dict[type, Callable[[Any], None]]:
        return {
            Connect: self._again,
            Publish: receiver.publish,
            Puback: receiver.puback,
            Pubrec: receiver.pubrec,
            Pubrel: receiver.pubrel,
            Pubcomp: receiver.pubcomp,
            Subscribe: receiver.subscribe,
            Unsubscribe: receiver.unsubscribe,
            Pingreq: lambda packet: self.send(Pingresp()),  # MQTT-3.12.4-1
            Disconnect: self._said_goodbye,
            Auth: self._reauthenticate,
        }

    def _again(self, packet: Connect) -> None:
        raise Refusal(ReasonCode.PROTOCOL_ERROR, "a second CONNECT")  # MQTT-3.1.0-2

    def _said_goodbye(self, packet: Disconnect) -> None:
        """Section 3.14.4: a normal DISCONNECT removes the will (MQTT-3.14.4-3), any other leaves it to be published."""
        session, broker = self._session, self.broker
        if packet.reason_code not in CLIENT_DISCONNECTS:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, f"DISCONNECT 0x{packet.reason_code:02X} from a client")
        if prop(packet.properties, "server_reference") is not None:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "Server Reference from a client")
        if session is None:
            return
        expiry = prop(packet.properties, "session_expiry_interval")
        if expiry is not None:
            self._change_expiry(session, expiry)
        if packet.reason_code == 0 and not broker.defective("will-after-disconnect"):
            session.will = None
        self.close()

    def _change_expiry(self, session: Session, expiry: int) -> None:
        """Section 3.14.2.2.2: it cannot be set when CONNECT set none."""
        if session.expiry == 0 and expiry:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "Session Expiry Interval was 0 in CONNECT")
        if not self.broker.defective("session-expiry-of-connect"):
            session.expiry = handshake.granted_expiry(self.broker, expiry)

    def _reauthenticate(self, packet: Auth) -> None:
        """Section 4.12.1; without a method in CONNECT, AUTH is a protocol error (MQTT-4.12.0-7)."""
        if self._connect is None or check_method(self._connect.properties) is None:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "AUTH without an Authentication Method in CONNECT")
        check_same_method(packet)
        if self._exchange is None:
            if packet.reason_code != ReasonCode.RE_AUTHENTICATE:
                raise Refusal(ReasonCode.PROTOCOL_ERROR, "AUTH that continues nothing")
            self._exchange = Exchange(prop(packet.properties, "authentication_data"))
            self.send(self._exchange.challenge())
            return
        self._exchange.answer(packet)
        self._exchange = None
        self.send(Auth(ReasonCode.SUCCESS, (("authentication_method", METHOD),)))
