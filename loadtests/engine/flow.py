"""One publisher of the engine: sends by a timetable or as fast as it may, and knows what was confirmed."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
from mqproof.loadtests.engine.kernels import BLOCKED, COMPLETED, CONFIRMED, RECEIVED, REFUSED
from mqproof.loadtests.engine.mqtt import IDS
from mqproof.loadtests.engine.plumbing import ROWS
from mqproof.loadtests.engine.traffic import Timetable
from mqproof.loadtests.engine.wire import Broken

if TYPE_CHECKING:
    from mqproof.loadtests.engine.stage import Stage

DUP = 0x08  # of PUBLISH's first octet
AGAIN = 0.2  # seconds before a connection that ended is tried again
MOST_IN_FLIGHT = 32_768  # of one publisher, so that MQTT's packet ids stay unique

Report = Callable[[str, int, int], None]  # name, messages, octets


class Flow:
    """One publisher on one connection; what it sent is known by counting, what is confirmed by its low-water mark."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self.stage, self.number = stage, number
        self.publisher = stage.first + number
        self.sent = self.refused = 0
        self.is_done = False
        self._low = 0  # everything below is confirmed or refused
        self._above: set[int] = set()
        self._refused: list[int] = []
        self._unsettled: list[tuple[int, int]] = []  # sent on a connection that ended before the answer
        self._since = 0  # the number that this connection began with
        self._wire: Any = None
        self._batch: Any = None
        self._reader: Any = None
        is_amqp = stage.target.protocol == "amqp"
        self.confirms = stage.traffic.confirm if is_amqp else stage.traffic.qos > 0
        self._resumes = not is_amqp and self.confirms  # the session is there after a connection's end
        self._received: set[int] = set()  # QoS 2: PUBREC came, PUBCOMP not yet

    @property
    def outstanding(self) -> int:
        """How many messages wait for the broker's confirm on this connection."""
        is_open = self._wire is not None or self._resumes
        return self.sent - self._low - len(self._above) if self.confirms and is_open else 0

    @property
    def settled(self) -> int:
        """How many answers have come."""
        return self._low + len(self._above)

    def connect(self) -> None:
        """Open the connection and listen to it. Raises Broken."""
        self._wire, self._batch = self.stage.plumbing.publisher(self.number)
        if not self._resumes:
            self._since = self._low = self.sent
            self._above.clear()
        self._reader = gevent.spawn(self._listen, self._wire)
        if self._resumes:
            self._repeat()

    def _repeat(self) -> None:
        """Send again what the last connection left unanswered (MQTT 3.1.1 section 4.4): PUBLISH with DUP, or PUBREL."""
        for start, stop in self._open_ranges():
            for sequence in range(start, stop):
                if sequence in self._received:
                    self._wire.release(sequence % IDS + 1)
                else:
                    octets = bytearray(self._batch.lay_out(1, self.publisher, sequence, time.monotonic_ns(), 0.0))
                    octets[0] |= DUP
                    self._wire.send(octets)

    def _open_ranges(self) -> list[tuple[int, int]]:
        """Return what was sent and neither confirmed nor refused."""
        ranges, start = [], self._low
        for settled in [*sorted(self._above), self.sent]:
            if settled > start:
                ranges.append((start, settled))
            start = settled + 1
        return ranges

    def run(self, table: Timetable) -> None:
        """Publish until the end of the timetable; a connection that ends is opened again."""
        is_paced = any(rate for _, rate in self.stage.traffic.phases)
        again = time.monotonic() + self.stage.traffic.reconnect if self.stage.traffic.reconnect else float("inf")
        while not self.stage.ended.is_set() and time.monotonic_ns() < table.end + 10**9:
            try:
                if self._wire is None:
                    self.connect()
                done = self._paced(table) if is_paced else self._saturating(table)
            except Broken as error:
                self.stage.book.failed(error)
                self._lose()
                gevent.sleep(AGAIN)
                continue
            if done:
                break
            if time.monotonic() > again:
                self.stage.book.count("publishers reconnected")
                again = time.monotonic() + self.stage.traffic.reconnect
                self._lose()
        self.is_done = True

    def _paced(self, table: Timetable) -> bool:
        """Send what is due; the time of each is what the table says, however late it is sent. Return whether over."""
        now = time.monotonic_ns()
        count, intended, step = table.due(self.sent, now)
        if not count:
            moment = table.next_moment(self.sent)
            if moment is None:
                return self.sent >= table.count
            gevent.sleep(max(0.0005, min(0.05, (moment - now) / 1e9)))
            return False
        self._send(min(count, ROWS, self._room()), intended, step)
        return False

    def _saturating(self, table: Timetable) -> bool:
        """Send as much as the window has room for; the time is that of the sending."""
        if time.monotonic_ns() >= table.end:
            return True
        room = min(self.stage.traffic.window - self.stage.in_flight, self._room(), ROWS)
        if room < min(ROWS, self.stage.traffic.window) // 4:
            gevent.sleep(0.0005)
            return False
        self._send(room, time.monotonic_ns(), 0.0)
        gevent.sleep(0)
        return False

    def _room(self) -> int:
        """Return how many more may be unconfirmed: the packet ids of those in flight must differ."""
        return MOST_IN_FLIGHT - self.outstanding if self.confirms else ROWS

    def _send(self, count: int, intended: int, step: float) -> None:
        if count <= 0:
            gevent.sleep(0.001)
            return
        octets = self._batch.lay_out(count, self.publisher, self.sent, intended, step)
        self.sent += count
        self.stage.note_published(count, len(octets))
        self._wire.send(octets)

    def _listen(self, wire: Any) -> None:
        """Note the broker's answers on one connection."""
        try:
            while True:
                _, events, _ = wire.receive()
                while len(events):
                    wire.check(events)
                    self.stage.blocked += int((events[:, 0] == BLOCKED).sum())
                    self._answer(events)
                    if (events[:, 0] == RECEIVED).any():
                        wire.acknowledge(events)
                    _, events = wire.walk()
        except Broken as error:
            if wire is self._wire and not self.stage.stopping.is_set():
                self.stage.book.failed(error)
                self._lose()

    def _answer(self, events: Any) -> None:
        is_amqp = self.stage.target.protocol == "amqp"
        for kind, number, multiple in events.tolist():
            if kind == RECEIVED:
                self._received.add(self._sequence_of(number))
            elif kind in (CONFIRMED, COMPLETED):
                sequence = self._since + number - 1 if is_amqp else self._sequence_of(number)
                self._received.discard(sequence)
                self._settle(sequence, bool(multiple))
            elif kind == REFUSED:
                sequence = self._since + number - 1
                refused = range(self._low, sequence + 1) if multiple else (sequence,)
                self._refused += [each for each in refused if each not in self._above]
                self.refused = len(self._refused)
                self._settle(sequence, bool(multiple))

    def _sequence_of(self, packet_id: int) -> int:
        """Return which message a packet id means: the first at or above the low-water mark."""
        return self._low + (packet_id - 1 - self._low) % IDS

    def _settle(self, sequence: int, multiple: bool) -> None:
        if multiple:
            self._above = {each for each in self._above if each > sequence}
            self._low = max(self._low, sequence + 1)
        elif sequence == self._low:
            self._low += 1
        else:
            self._above.add(sequence)
        while self._low in self._above:
            self._above.discard(self._low)
            self._low += 1

    def _lose(self) -> None:
        """Give the connection up; what was not answered on it may or may not have reached the broker."""
        if self._wire is None:
            if self._resumes and self.stage.stopping.is_set() and not self._unsettled:
                self._unsettled += self._open_ranges()
            return
        wire, self._wire = self._wire, None
        if self.confirms and (not self._resumes or self.stage.stopping.is_set()):
            self._unsettled += self._open_ranges()
        wire.socket.close()
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)

    def close(self) -> None:
        """Say good-bye."""
        if self._wire is None:
            self._lose()
        else:
            if self._reader is not None:
                self._reader.kill()
            wire = self._wire
            if self.confirms and self.outstanding:
                self._lose()
            else:
                self._wire = None
            wire.close()

    def write_confirms(self, ledger: Any) -> None:
        """Tell the ledger what was confirmed and refused, and what a connection's end leaves open."""
        for start, stop in self._unsettled:
            ledger.excuse("unconfirmed when its connection ended", self.publisher, start, stop)
        for sequence in self._refused:
            ledger.refuse(self.publisher, sequence)
        if self.confirms:
            start = 0
            refused = ((each, each + 1) for each in sorted(self._refused))
            for low, high in sorted([*self._unsettled, *refused, (self.sent, self.sent)]):
                ledger.confirm(self.publisher, start, max(start, low))
                start = max(start, high)
