"""One publisher of the engine: sends by a timetable or as fast as it may, and knows what was confirmed."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np
from mqproof.harness.awake import Awake
from mqproof.harness.ledger import IN_FLIGHT, UNCONFIRMED, Ledger
from mqproof.loadtests.engine.kernels import BLOCKED, COMPLETED, CONFIRMED, RECEIVED, REFUSED, UNBLOCKED
from mqproof.loadtests.engine.mqtt import IDS
from mqproof.loadtests.engine.plumbing import rows_of
from mqproof.loadtests.engine.timetable import Timetable
from mqproof.loadtests.engine.wire import Broken

if TYPE_CHECKING:
    from mqproof.loadtests.engine.stage import Stage

DUP = 0x08  # of PUBLISH's first octet
STALL = 1.0  # seconds without an answer that is owed: the client could not do its work
LATE = 1.0  # seconds beyond the timetable in which it may send what is due by then
AGAIN = 0.2  # seconds before a connection that ended is tried again
MOST_IN_FLIGHT = 32_768  # of one publisher, so that MQTT's packet ids stay unique
UNDER_WAY = 8 << 20  # octets that two ends' socket buffers may hold when a connection ends


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
        self._batch: Any = stage.plumbing.batch(number)
        self._rows = rows_of(stage.traffic)
        self._table: Timetable | None = None
        self._sizes = 0  # octets sent
        self._dropped: list[tuple[int, int]] = []  # sent without a promise on a connection that ended
        self._answered = time.monotonic()
        self._is_waiting = False
        self._down: float | None = None  # since when there is no connection, where no answer is owed either
        self._times: deque[tuple[int, int]] = deque()  # the number behind a write, and its first message's time
        self._reader: Any = None
        is_amqp = stage.target.protocol == "amqp"
        self.confirms = stage.traffic.confirm if is_amqp else stage.traffic.qos > 0
        outlives = stage.traffic.reconnect > 0 or stage.traffic.sessions
        self._resumes = not is_amqp and self.confirms and outlives  # the session is there after a connection's end
        self._received: set[int] = set()  # QoS 2: PUBREC came, PUBCOMP not yet

    @property
    def outstanding(self) -> int:
        """How many messages wait for the broker's confirm on this connection."""
        is_open = self._wire is not None or self._resumes
        return self.sent - self._low - len(self._above) if self.confirms and is_open else 0

    @property
    def copies(self) -> int:
        """How many copies the broker owes for what was sent and not refused."""
        return (self.sent - self.refused) * len(self.stage.traffic.routes_of(self.number))

    @property
    def settled(self) -> int:
        """How many answers have come."""
        return self._low + len(self._above)

    def connect(self) -> None:
        """Open the connection and listen to it. Raises Broken."""
        self._wire = self.stage.plumbing.publisher(self.number)
        if self._down is not None:
            self.stage.note_outage(f"publisher {self.number + 1}", self._down)
            self._down = None
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
                    moment = self._table.next_moment(sequence) if self._table is not None else None
                    intended = (moment or time.monotonic_ns()) + self.stage.offset
                    octets = bytearray(self._batch.lay_out(1, self.publisher, sequence, intended, 0.0))
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
        self._table = table
        is_paced = self.stage.traffic.is_paced
        again = time.monotonic() + self.stage.traffic.reconnect if self.stage.traffic.reconnect else float("inf")
        late = Awake()
        while not self.stage.ended.is_set() and late.seconds() < LATE:
            if time.monotonic_ns() < table.end:
                late.begin()
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
            if self._impatient():
                self.stage.book.count("publishers that gave up waiting for an answer")
                self._lose()
            if time.monotonic() > again:
                self.stage.book.count("publishers reconnected")
                again = time.monotonic() + self.stage.traffic.reconnect
                self._lose()
                self._down = None  # on purpose
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
        self._send(min(count, self._rows, self._room()), intended, step)
        return False

    def _saturating(self, table: Timetable) -> bool:
        """Send as much as the window has room for; the time is that of the sending."""
        if time.monotonic_ns() >= table.end:
            return True
        room = min(self.stage.room, self._room(), self._rows)
        if room < self._worth_while:
            gevent.sleep(0.0005)
            return False
        self._send(room, time.monotonic_ns(), 0.0)
        gevent.sleep(0)
        return False

    @property
    def _worth_while(self) -> int:
        """How many messages are worth a write: a quarter of what may be in flight, or of a batch."""
        grants = getattr(self._wire, "receive_maximum", MOST_IN_FLIGHT)
        traffic = self.stage.traffic
        return max(1, min(self._rows, traffic.window, grants, traffic.max_unconfirmed or MOST_IN_FLIGHT) // 4)

    def _room(self) -> int:
        """Return how many more may be unconfirmed: the packet ids of those in flight must differ."""
        grants = getattr(self._wire, "receive_maximum", MOST_IN_FLIGHT)
        most = min(self.stage.traffic.max_unconfirmed or MOST_IN_FLIGHT, MOST_IN_FLIGHT, grants)
        return most - self.outstanding if self.confirms else self._rows

    def _send(self, count: int, intended: int, step: float) -> None:
        if count <= 0:
            gevent.sleep(0.001)
            return
        octets = self._batch.lay_out(count, self.publisher, self.sent, intended + self.stage.offset, step)
        self.sent += count
        self._sizes += len(octets)
        if self.confirms:
            self._times.append((self.sent, intended))
        self.stage.note_published(count)
        if self.confirms and not self._is_waiting:
            self._answered, self._is_waiting = time.monotonic(), True
        self._wire.send(octets)

    def _listen(self, wire: Any) -> None:
        """Note the broker's answers on one connection."""
        try:
            while True:
                _, events, _ = wire.receive()
                while len(events):
                    wire.check(events)
                    self._heed(events)
                    self._answer(events)
                    if (events[:, 0] == RECEIVED).any():
                        wire.acknowledge(events)
                    _, events = wire.walk()
        except Broken as error:
            if wire is self._wire and not self.stage.stopping.is_set():
                self.stage.book.failed(error)
                self._lose()

    def _heed(self, events: Any) -> None:
        """Note that the broker holds this publisher back, and that it lets it go on (connection.blocked)."""
        if blocked := int((events[:, 0] == BLOCKED).sum()):
            self.stage.note_blocked(blocked)
        if unblocked := int((events[:, 0] == UNBLOCKED).sum()):
            self.stage.note_blocked(-unblocked)

    def _answer(self, events: Any) -> None:
        is_amqp = self.stage.target.protocol == "amqp"
        if not is_amqp and not self._above and self._answer_in_order(events):
            return
        for kind, number, multiple in events.tolist():
            if kind == RECEIVED:
                self._received.add(self._sequence_of(number))
            elif kind in (CONFIRMED, COMPLETED):
                sequence = self._since + number - 1 if is_amqp else self._sequence_of(number)
                self._received.discard(sequence)
                self._settle(sequence, bool(multiple))
            elif kind == REFUSED:
                sequence = self._since + number - 1 if is_amqp else self._sequence_of(number)
                refused = range(self._low, sequence + 1) if multiple else (sequence,)
                self._refused += [each for each in refused if each not in self._above]
                self.refused = len(self._refused)
                self._settle(sequence, bool(multiple))

    def _answer_in_order(self, events: Any) -> bool:
        """Settle PUBACKs that come in the order of the messages, as they must (section 4.6), all at once."""
        ids = (self._low + np.arange(len(events))) % IDS + 1
        if not (events[:, 0] == CONFIRMED).all() or not (events[:, 1] == ids).all():
            return False
        self._settle(self._low + len(events) - 1, True)
        return True

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
        self._time_confirms()

    def _note_answer(self) -> None:
        """Note that the broker answers; and where it did not for a while, that this client could not publish."""
        now = time.monotonic()
        if self._is_waiting and now - self._answered > STALL:
            self.stage.note_outage(f"publisher {self.number + 1}", self._answered)
        self._answered, self._is_waiting = now, bool(self.outstanding)

    def _impatient(self) -> bool:
        """Return whether the broker owes an answer for longer than this traffic has patience."""
        patience = self.stage.traffic.patience
        return bool(patience and self._is_waiting and time.monotonic() - self._answered > patience)

    def _time_confirms(self) -> None:
        """Record how long the writes took that are wholly confirmed, from the time of their first message."""
        self._note_answer()
        now = time.monotonic_ns()
        while self._times and self._times[0][0] <= self._low:
            self.stage.note_confirm_time((now - self._times.popleft()[1]) / 1e9)

    def _lose(self) -> None:
        """Give the connection up; what was not answered on it may or may not have reached the broker."""
        is_end = self.stage.stopping.is_set()
        if self._wire is None:
            if self._resumes and is_end and not self._unsettled:
                self._unsettled += self._open_ranges()
            return
        wire, self._wire = self._wire, None
        if not is_end and not self._is_waiting:
            self._down = time.monotonic()
        if self.confirms and (not self._resumes or is_end):
            self._unsettled += self._open_ranges()
        elif not self.confirms and not is_end:
            under_way = max(1, UNDER_WAY * self.sent // max(1, self._sizes))
            self._dropped.append((max(self._since, self.sent - under_way), self.sent))
        self._times.clear()
        wire.socket.close()
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)

    def close(self) -> None:
        """Say good-bye."""
        if self._wire is None:
            self._lose()
            return
        if self._reader is not None:
            self._reader.kill()
        wire = self._wire
        if self.confirms and self.outstanding:
            self._lose()
        else:
            self._wire = None
        wire.close()

    def write(self, ledger: Ledger) -> None:
        """Tell the ledger what was sent, confirmed and refused, and what a connection's end leaves open."""
        routes = [self.stage.traffic.route(route) for route in self.stage.traffic.routes_of(self.number)]
        ledger.expect(self.publisher, *routes)
        ledger.publish(self.publisher, 0, self.sent)
        for start, stop in self._unsettled:
            cause = IN_FLIGHT if stop == self.sent else UNCONFIRMED
            ledger.excuse(cause, self.publisher, start, stop)
        for start, stop in self._dropped:
            ledger.excuse(UNCONFIRMED, self.publisher, start, stop)
        for sequence in self._refused:
            ledger.refuse(self.publisher, sequence)
        if self.confirms:
            start = 0
            refused = ((each, each + 1) for each in sorted(self._refused))
            for low, high in sorted([*self._unsettled, *refused, (self.sent, self.sent)]):
                ledger.confirm(self.publisher, start, max(start, low))
                start = max(start, high)
