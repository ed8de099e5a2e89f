"""Many devices on one thread: connections that cost a socket and a few words each, no greenlet and no buffer.

A device keeps its connection alive (PINGREQ, AMQP heartbeat), publishes a small message now and then without waiting,
and reads only to count octets, answers and the connection's end. Octets on the wire are asked of the kernel (TCP_INFO,
tcp(7)): what it sent and received, in how many segments.
"""

import _socket
import errno
import resource
import socket
import ssl
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
from gevent.hub import get_hub
from gevent.pool import Pool
from mqproof.dissectors.amqp import codec as amqp
from mqproof.harness.ledger import UNCONFIRMED, Ledger
from mqproof.loadtests.engine.amqp import CLOSING, refusal
from mqproof.loadtests.engine.pace import Pace
from mqproof.loadtests.engine.timetable import Timetable
from mqproof.loadtests.engine.wire import Broken
from mqproof.loadtests.settings import BadSettings

if TYPE_CHECKING:
    from mqproof.loadtests.engine.stage import Stage

HEARTBEAT = amqp.encode(amqp.Heartbeat())
PINGREQ = bytes((0xC0, 0))
HEADERS = 14 + 20 + 20 + 12  # octets of Ethernet, IPv4, TCP and its timestamps around each segment
WAITING = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
AT_ONCE = 64  # connections that are opened side by side
SPARE = 200  # descriptors for everything else
TICK = 0.05  # seconds between two looks at who is due


class Device:
    """One connection. ``sent``: its messages; ``due``: when it must say something, on the monotonic clock."""

    __slots__ = ("dropped", "due", "number", "sent", "socket", "watcher", "wire_at")

    def __init__(self, number: int) -> None:
        self.number, self.sent, self.due = number, 0, 0.0
        self.socket: Any = None
        self.watcher: Any = None
        self.wire_at = (0, 0)  # octets, segments at the start
        self.dropped: list[tuple[int, int]] | None = None


class FleetOfDevices:
    """All devices of a worker, as one source of messages."""

    confirms = False
    outstanding = settled = refused = 0

    def __init__(self, stage: "Stage") -> None:
        self.stage, self.number = stage, stage.part.index
        self.devices = [Device(number) for number in stage.part.of(stage.traffic.publishers)]
        self.sent = 0
        self.is_done = False
        self.is_amqp = stage.target.protocol == "amqp"
        self._batches: dict[int, Any] = {}
        self._order: deque[Device] = deque(self.devices)
        self._loop = get_hub().loop
        self._since = 0.0

    @property
    def copies(self) -> int:
        """How many copies the broker owes."""
        return self.sent

    # -- connections -----------------------------------------------------------------------------------------------

    def open(self, pace: Pace) -> None:
        """Connect all devices, so many at a time. Raises Broken where none could be connected."""
        raise_limit(len(self.devices) + SPARE)
        gevent.spawn(self._keep_all_alive)
        self._connect_all(pace, "connect")
        if not any(device.socket is not None for device in self.devices):
            raise Broken(f"no device could be connected: {next(iter(self.stage.book.errors))}")

    def _connect_all(self, pace: Pace, name: str) -> None:
        pool, began = Pool(AT_ONCE), time.monotonic()
        for device in self.devices:
            if device.socket is None and not self.stage.stopping.is_set():
                pace.wait()
                pool.spawn(self._connect, device, name)
        pool.join()
        lasted = time.monotonic() - began
        figures = self.stage.book.figures
        figures[f"{name}: devices"] = float(sum(device.socket is not None for device in self.devices))
        figures[f"{name}: seconds"] = lasted

    def _connect(self, device: Device, name: str) -> None:
        began = time.monotonic()
        try:
            wire = self.stage.plumbing.publisher(device.number)
        except Broken as error:
            self.stage.book.failed(error)
            self.stage.book.count(f"{name}: failures")
            return
        self.stage.book.record(name, time.monotonic() - began)
        if self.stage.stopping.is_set():
            wire.socket.close()
            return
        # What TLS has agreed on is in the socket's object; without it the descriptor is all that is needed.
        device.socket = wire.socket if self.stage.target.tls else _socket.socket(fileno=wire.detach())
        device.socket.setblocking(False)
        device.watcher = self._loop.io(device.socket.fileno(), 1)
        device.watcher.start(self._read, device)
        device.due = time.monotonic() + self.stage.traffic.keep_alive

    def _read(self, device: Device) -> None:
        try:
            octets = device.socket.recv(65536)
        except WAITING:
            return
        except OSError:
            octets = b""
        is_closed = self.is_amqp and octets[7:11] in CLOSING
        if is_closed:
            self.stage.book.failed(refusal(octets))
        if is_closed or not octets:
            self._drop(device)
            if not self.stage.stopping.is_set():
                self.stage.book.count("devices that the broker disconnected")

    def _drop(self, device: Device) -> None:
        """Forget the connection; what was sent last on it may not have reached the broker."""
        if device.watcher is not None:
            device.watcher.stop()
            device.watcher.close()
            device.watcher = None
        if device.socket is not None:
            device.socket.close()
            device.socket = None
            device.dropped = [*(device.dropped or []), (device.sent - 1, device.sent)]

    # -- what they do ----------------------------------------------------------------------------------------------

    def run(self, table: Timetable) -> None:
        """Publish by the timetable of all together, keep alive, and come back all at once where that is the point."""
        self._since = time.monotonic()
        for device in self._sampled():
            device.wire_at = wire_of(device.socket)
        if self.stage.traffic.fleet == "storm":
            self._storm(table)
        else:
            self._hold(table)
        self._write_figures()
        self.is_done = True

    def _hold(self, table: Timetable) -> None:
        part = self.stage.part
        table = Timetable(self.stage.traffic.phases, part.count, time.monotonic_ns(), part.index)
        while not self.stage.ended.is_set() and time.monotonic_ns() < table.end:
            self._publish_due(table, time.monotonic_ns())
            gevent.sleep(TICK)
        if not self.stage.ended.is_set():
            self._publish_due(table, table.end)
        self._publish_each()

    def _publish_due(self, table: Timetable, moment: int) -> None:
        count, intended, step = table.due(self.sent, moment)
        for index in range(count):
            self._publish(intended + int(step * index))

    def _storm(self, table: Timetable) -> None:
        """Cut all connections, let everyone come back at once, again and again until the time is over."""
        while not self.stage.ended.is_set() and time.monotonic_ns() < table.end:
            for device in self.devices:
                self._drop(device)
            began = time.monotonic()
            self._connect_all(Pace(0), "reconnect of everyone")
            self.stage.book.count("storms")
            self.stage.book.record("everyone is back", time.monotonic() - began)
            self._publish_each()
            gevent.sleep(TICK)

    def _publish_each(self) -> None:
        """Publish one message of each device, which proves that the connection is of use."""
        for index, device in enumerate(list(self._order)):
            if device.socket is not None:
                self._publish(time.monotonic_ns())
            if index % AT_ONCE == 0:
                gevent.sleep(TICK / 10)

    def _publish(self, intended: int) -> None:
        """Publish one message of the device whose turn it is; what does not fit into its socket is not sent."""
        for _ in range(len(self._order)):
            device = self._order[0]
            self._order.rotate(-1)
            if device.socket is not None:
                break
        else:
            return
        batch = self._batches.get(device.number)
        if batch is None:
            batch = self._batches[device.number] = self.stage.plumbing.batch(device.number, 1)
        publisher = self.stage.first + device.number
        octets = batch.lay_out(1, publisher, device.sent, intended + self.stage.offset, 0.0)
        if self._say(device, octets):
            device.sent += 1
            self.sent += 1
            self.stage.note_published(1)

    def _say(self, device: Device, octets: Any) -> bool:
        try:
            if device.socket.send(octets) != len(octets):
                raise OSError(errno.EPIPE, "the broker does not read")
        except WAITING:
            self.stage.book.count("messages that a full socket held back")
            return False
        except OSError as error:
            self.stage.book.failed(Broken(f"send: {error.strerror}"))
            self._drop(device)
            return False
        device.due = time.monotonic() + self.stage.traffic.keep_alive
        return True

    def _keep_all_alive(self) -> None:
        """Keep alive from the first connection to the end of the drain, whatever else the devices do."""
        seconds = self.stage.traffic.keep_alive
        while seconds and not self.stage.stopping.is_set():
            self._keep_alive()
            gevent.sleep(min(1.0, seconds / 8))

    def _keep_alive(self) -> None:
        """Let those speak that will have been silent for half of what they promised to be at most."""
        now = time.monotonic()
        octets = HEARTBEAT if self.is_amqp else PINGREQ
        for device in self.devices:
            if device.socket is not None and now > device.due - self.stage.traffic.keep_alive / 2:
                self._say(device, octets)
                self.stage.book.count("keep-alives")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _sampled(self) -> list[Device]:
        """Return up to a hundred devices on which the wire is measured."""
        connected = [device for device in self.devices if device.socket is not None]
        return connected[:: max(1, len(connected) // 100)]

    def _write_figures(self) -> None:
        """Note what the sampled devices had on the wire, and for how long."""
        figures, lasted = self.stage.book.figures, time.monotonic() - self._since
        for device in self._sampled():
            if device.wire_at != (0, 0):
                octets, segments = wire_of(device.socket)
                on_wire = octets - device.wire_at[0] + HEADERS * (segments - device.wire_at[1])
                figures["wire: octets"] = figures.get("wire: octets", 0.0) + on_wire
                figures["wire: device seconds"] = figures.get("wire: device seconds", 0.0) + lasted
        figures["held: devices"] = float(sum(device.socket is not None for device in self.devices))

    def close(self) -> None:
        """Disconnect everyone."""
        for device in self.devices:
            if device.socket is not None:
                device.dropped = device.dropped or []
                self._drop(device)
                device.dropped.pop()

    def write(self, ledger: Ledger) -> None:
        """Tell the ledger what was sent; a message in a connection's last moment was promised nothing."""
        for device in self.devices:
            route = self.stage.traffic.routes_of(device.number)[0]
            publisher = self.stage.first + device.number
            ledger.expect(publisher, self.stage.traffic.route(route))
            ledger.publish(publisher, 0, device.sent)
            for start, stop in device.dropped or []:
                ledger.excuse(UNCONFIRMED, publisher, max(0, start), stop)


def wire_of(connection: Any) -> tuple[int, int]:
    """Return the octets and the segments of a TCP connection, both ways together; zeros where it is not known."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        acked, received, segments_out, segments_in = struct.unpack_from("QQII", info, 120)
    except (AttributeError, OSError, struct.error):
        return 0, 0
    return acked + received, segments_out + segments_in


def raise_limit(wanted: int) -> None:
    """Raise the limit of open files as far as allowed. Raises BadSettings, with the remedy, where that is too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < wanted:
        raise BadSettings(f"{wanted} open files are needed and {hard} allowed: run 'ulimit -n {wanted}' as root before")
