"""A raw AMQP 0-9-1 connection, lower half: exact octets out, decoded frames and whole messages in.

It validates nothing and hides nothing. ``must_receive`` accuses the broker (Deviation); everything else raises Blocked,
because it is a precondition of what a test examines. Every step has a deadline.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from mqproof.dissectors.amqp.codec import ContentHeader, Decoder, Frame, Malformed, encode, method
from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.amqp_message import Assembler, Event, describe, masked, tell
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.harness.wires.base import Connection, End, Ended, Transcript

STEP = 5.0  # seconds for one reply
least_patience: ContextVar[float] = ContextVar("least_patience", default=0.0)  # for what runs beside many others
CLOSES = ("channel.close", "connection.close")


class Link:
    """One connection: what goes out and what comes in, frame by frame and event by event."""

    def __init__(self, target: Target, things: Things, *, title: str = "AMQP wire") -> None:
        """Connect the socket and send nothing. Raises Blocked when nobody listens."""
        self.target = target
        self.things = things
        self.transcript = Transcript(title)
        try:
            self.connection = Connection(target)
        except OSError as error:
            raise Blocked(f"no connection to {target.redacted_url}: {error}") from None
        self.tuned: dict[str, int] = {"channel_max": 0, "frame_max": 4096, "heartbeat": 0}
        self.server_properties: dict[str, Any] = {}
        self._decoder = Decoder()
        self._assembler = Assembler()
        self._inbox: deque[Event] = deque()  # what came while something else was awaited
        self._publishing: str | None = None

    # -- out -----------------------------------------------------------------------------------------------------

    def send(self, *frames: Frame | str, channel: int = 1, **arguments: Any) -> None:
        """Send frames in one write; a method may be given by name with its arguments."""
        made = [method(frame, channel, **arguments) if isinstance(frame, str) else frame for frame in frames]
        for frame in made:
            self.transcript.add(">", *masked(frame))
        self.connection.send(b"".join(map(encode, made)))  # that the broker has gone shows when it is listened to

    def send_octets(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.transcript.add(">", octets, f"{len(octets)} octets {octets[:40]!r}")
        self.connection.send(octets)

    @staticmethod
    def header(size: int, *, class_id: int = 60, channel: int = 1, **properties: Any) -> ContentHeader:
        """Return a content header that announces ``size`` octets of body."""
        return ContentHeader(channel, class_id, size, properties)

    # -- in ------------------------------------------------------------------------------------------------------

    def next_frame(self, until: float | None = None) -> Frame | Ended:
        """Return the next frame, or how the wait ended; ``until``: a moment of ``time.monotonic``."""
        until = within(STEP) if until is None else until
        while True:
            try:
                frame = self._decoder.next()
            except Malformed as error:
                return self._note_end(Ended(End.MALFORMED, str(error)))
            if frame is not None:
                self.transcript.add("<", self._decoder.last_frame_octets, describe(frame))
                return frame
            octets = self.connection.receive(until)
            if isinstance(octets, Ended):
                return self._note_end(octets)
            self._decoder.feed(octets)

    def _note_end(self, ended: Ended) -> Ended:
        self.transcript.add("!", b"", str(ended))
        return ended

    def next_event(self, until: float | None = None) -> Event | Ended:
        """Return the next method or whole message, heartbeats left out, or how the wait ended."""
        until = within(STEP) if until is None else until
        while True:
            frame = self.next_frame(until)
            if isinstance(frame, Ended):
                return frame
            event = self._assembler.add(frame)
            if event is not None:
                return event

    def expect(self, *names: str, channel: int | None = None, **fields: Any) -> Event:
        """Return the first event of these names, on this channel, with these arguments; others wait for their turn.

        Raises Blocked when the channel or the connection ends instead.
        """
        try:
            return self._await(lambda event: is_event(event, names, channel, fields))
        except Refused as refused:
            raise Blocked(f"expected {' or '.join(names)}; got {refused}") from None

    def must_receive(self, *names: str, channel: int | None = None, seconds: float = STEP, **fields: Any) -> Event:
        """Accuse the broker unless an event of these names, on this channel, with these arguments comes."""
        try:
            return self._await(lambda event: is_event(event, names, channel, fields), seconds)
        except Refused as refused:
            shown = f"{' or '.join(names)}{f' {fields}' if fields else ''}"
            raise Deviation(shown, str(refused)) from None

    def _await(self, wanted: Callable[[Event], bool], seconds: float = STEP) -> Event:
        for waiting in self._inbox:
            if wanted(waiting):
                self._inbox.remove(waiting)
                return waiting
        for waiting in self._inbox:
            if waiting.name in CLOSES:
                raise Refused(tell(waiting))
        until = within(seconds)
        while not isinstance(event := self.next_event(until), Ended):
            if wanted(event):
                return event
            self._inbox.append(event)
            if event.name in CLOSES:
                raise Refused(tell(event))
        raise Refused(self._with_inbox(str(event)))

    def _with_inbox(self, text: str) -> str:
        return text + (f" after {', '.join(tell(event) for event in list(self._inbox)[-3:])}" if self._inbox else "")


def within(seconds: float) -> float:
    """Return the moment of ``time.monotonic`` that lies so many seconds ahead, patience counted in."""
    return time.monotonic() + max(patience.seconds(seconds), seconds * least_patience.get())


class Refused(Exception):
    """Something else came than was awaited; the message says what."""


def is_event(event: Event, names: Iterable[str], channel: int | None, fields: dict[str, Any]) -> bool:
    """Whether the event has one of these names, this channel (None: any) and these arguments."""
    return (
        event.name in names
        and (channel is None or event.channel == channel)
        and all(event.arguments.get(key) == value for key, value in fields.items())
    )


def is_reply(event: Event) -> bool:
    """Whether the event answers a synchronous method."""
    return event.name.endswith(("-ok", "-empty"))
