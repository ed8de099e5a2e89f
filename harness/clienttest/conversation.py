"""What was said on a connection between a client and the broker that judges it, with the times."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.harness.proxy.core import Link, Passage

Side = Literal["client", "broker"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A side has ended its direction; ``nothing`` more comes from it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One frame or packet, octets that are none, or an end. ``time``: seconds on a monotonic clock."""

    time: float
    side: Side
    item: Any  # amqp.Frame, mqtt.Packet, Malformed or Ended
    octets: bytes = b""


@dataclass(slots=True)
class Conversation:
    """One connection's events in order; ``situation`` names what the broker did to the client meanwhile."""

    events: list[Event] = field(default_factory=list)
    situation: str = "plain"

    def add(self, side: Side, item: Any, octets: bytes = b"", when: float | None = None) -> None:
        """Append an event."""
        self.events.append(Event(time.monotonic() if when is None else when, side, item, octets))


Meddle = Callable[["Listening", Side, Any], Any]
GONE = object()  # what a meddler returns for a frame that does not go on


class Listening(Passage):
    """Writes down what the client said and what it was told. ``meddle`` may return another frame to go on, or GONE."""

    LINGER = 3.0  # seconds that a client has to close its side before the broker's end is passed on

    def __init__(self, link: Link, protocol: str, conversation: Conversation, meddle: Meddle | None = None) -> None:
        super().__init__(link)
        self.conversation = conversation
        self._meddle = meddle
        self.memory: dict[str, Any] = {}
        make = amqp.Decoder if protocol == "amqp" else lambda: mqtt.Decoder(mqtt.Connect().version)
        self._decoders: dict[Side, Any] = {"client": make(), "broker": make()}
        self._broken: set[Side] = set()
        self._ended: set[Side] = set()

    def from_client(self, octets: bytes) -> None:
        """Take octets that the client sent."""
        self.link.to_broker(self._take("client", octets))

    def from_broker(self, octets: bytes) -> None:
        """Take octets that the broker sent."""
        self.link.to_client(self._take("broker", octets))

    def client_ended(self) -> None:
        """Note the client's end."""
        self._end("client")

    def broker_ended(self) -> None:
        """Note the broker's end."""
        self._end("broker")

    def closed(self) -> None:
        """Note a reset."""
        for side in ("client", "broker"):
            self._end(side)

    async def settle(self, source: str, *, ended: bool = False) -> None:
        """Give the client the time to close by itself before it learns that the broker has."""
        if source == "broker" and ended:
            until = time.monotonic() + self.LINGER
            while "client" not in self._ended and time.monotonic() < until:
                await asyncio.sleep(0.01)

    def _end(self, side: Side) -> None:
        if side not in self._ended:
            self._ended.add(side)
            self.conversation.add(side, Ended())

    def _pass(self, side: Side, item: Any, raw: bytes) -> bytes:
        changed = self._meddle(self, side, item) if self._meddle else None
        if changed is GONE:
            if side == "client":
                self.conversation.add(side, item, raw)  # said all the same
            return b""
        if changed is not None:
            item, raw = changed, self._encode(changed)
        self.conversation.add(side, item, raw)
        return raw

    def _encode(self, item: Any) -> bytes:
        version = getattr(self._decoders["broker"], "version", None)
        return amqp.encode(item) if version is None else mqtt.encode(item, version)

    def _take(self, side: Side, octets: bytes) -> bytes:
        if side in self._broken:
            return octets
        decoder = self._decoders[side]
        decoder.feed(octets)
        passed = b""
        try:
            while (item := decoder.next()) is not None:
                if isinstance(item, mqtt.Connect):
                    for each in self._decoders.values():
                        each.version = item.version
                passed += self._pass(side, item, decoder.last_frame_octets)
        except Malformed as error:
            self._broken.add(side)
            rest = decoder.rest()
            self.conversation.add(side, error, rest)
            passed += rest
        return passed
