"""What a workload costs on one broker, measured: octets and packets of a captured sample, and the broker's memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mqproof.dissectors.amqp.codec import Frame
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.opening import Opener, TcpPacket
from mqproof.dissectors.packets.pcap import read_packets
from mqproof.harness.choose_devices import AmqpDevice, Device, MqttDevice, NoAnswer, device
from mqproof.harness.recording.record import record
from mqproof.harness.targets.target import Target
from mqproof.harness.workload import Flow, Workload

MESSAGES: Final = 25  # of each flow in the sample
PACE: Final = 0.06  # seconds between two: longer than TCP delays its acknowledgements (40 ms), as for a real device
PINGS: Final = 5
CONNECTIONS: Final = 300  # idle ones, to see what each takes
QUEUES: Final = 20
QUEUED: Final = 900  # in each: Mosquitto keeps 1000 for a session that is away, unless told otherwise
SETTLE: Final = 0.5  # seconds after which a broker's memory is read


@dataclass(frozen=True, slots=True)
class Phase:
    """What one connection cost in one part of the sample; IP octets, link headers left out. ``count`` of messages."""

    name: str
    count: int
    octets: int
    packets: int
    stream: int  # octets in the TCP streams of both directions: the protocol's own, TLS records included
    payload: int  # octets of the messages' payloads


@dataclass(slots=True)
class Sample:
    """A captured sample: phases of the device's connection, and what reached the consumer."""

    kind: str  # dumpcap, or tap where packets may not be captured
    phases: list[Phase] = field(default_factory=list)
    consumer: list[Phase] = field(default_factory=list)
    first_publish: bytes = b""  # the first message as it stood in the stream, before it was encrypted
    tls: str = ""  # its version

    def of(self, name: str) -> Phase:
        """Return the device's phase of this name. Raises StopIteration."""
        return next(phase for phase in self.phases if phase.name == name)


@dataclass(slots=True)
class _Marks:
    """When each phase ended; ``counts`` and ``payloads`` by phase."""

    ends: list[tuple[str, int]] = field(default_factory=list)  # name, ns since 1970
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def end(self, name: str, count: int = 0, payload: int = 0) -> None:
        self.ends.append((name, time.time_ns()))
        self.counts[name] = count, payload


def payloads_of(flow: Flow, count: int) -> list[bytes]:
    """Return so many payloads with the flow's sizes in their shares, sizes mixed."""
    owed = [[size, 0.0] for size, _ in flow.payload]
    found = []
    for number in range(count):
        for entry, (_, share) in zip(owed, flow.payload, strict=True):
            entry[1] += share
        chosen = max(owed, key=lambda entry: entry[1])
        chosen[1] -= 1
        found.append(bytes([97 + number % 26]) * int(chosen[0]))
    return found


def sample(target: Target, workload: Workload, folder: Path, name: str) -> Sample:
    """Publish some messages of each flow on one device's connection, and capture it. Raises NoAnswer, OSError."""
    marks = _Marks()
    with record([target], folder) as recording:
        (used,) = recording.targets
        with _consumer(used, workload.flows, f"{name}0") as consumer:
            time_zero = time.time_ns()
            sender = device(used, f"{name}1", workload.flows, max(1, workload.devices // 2))
            tls = sender.tls
            consumer.serve(PACE)
            marks.end("connect")
            for flow in workload.flows:
                _send_flow(sender, consumer, flow, marks)
            for _ in range(PINGS):
                sender.ping()
                sender.serve(PACE)
            marks.end("pings", PINGS)
            _clear(sender, workload.flows)
            sender.serve(PACE)
            marks.end("clean-up")
            sender.close()
            consumer.serve(PACE)
            marks.end("close")
        ports = sender.port, consumer.port
    made = Sample(recording.kind, tls=tls)
    made.phases = _phases(recording.files[0], ports[0], time_zero, marks)
    made.consumer = _phases(recording.files[0], ports[1], time_zero, marks)
    made.first_publish = _first_publish(sender, workload.flows[0])
    return made


def _send_flow(sender: Device, consumer: Device, flow: Flow, marks: _Marks) -> None:
    if flow.qos and isinstance(sender, AmqpDevice):
        sender.confirm()
        sender.serve(PACE)
        marks.end(f"confirm.select before {flow.name}")
    payloads = payloads_of(flow, MESSAGES)
    before = consumer.received
    for number, payload in enumerate(payloads, 1):
        sender.publish(flow, payload, number)
        consumer.serve(PACE / 2)
        sender.serve(PACE / 2)
    until = time.monotonic() + 5
    while consumer.received - before < MESSAGES and time.monotonic() < until:
        consumer.serve(PACE)
    arrived = consumer.received - before
    if arrived < MESSAGES:
        where = consumer.target.redacted_url
        raise NoAnswer(f"{where}: {arrived} of {MESSAGES} messages of {flow.name} reached the consumer")
    marks.end(flow.name, MESSAGES, sum(map(len, payloads)))


@contextmanager
def _consumer(target: Target, flows: Sequence[Flow], name: str) -> Iterator[Device]:
    consumer = device(target, name, flows)
    try:
        for flow in flows:
            consumer.subscribe(flow)
        yield consumer
    finally:
        consumer.hang_up()


def _clear(sender: Device, flows: Sequence[Flow]) -> None:
    if isinstance(sender, MqttDevice):
        sender.clear(flows)


def _first_publish(sender: Device, flow: Flow) -> bytes:
    payload = payloads_of(flow, 1)[0]
    if isinstance(sender, AmqpDevice):
        from mqproof.dissectors.amqp.codec import encode

        return b"".join(map(encode, sender.frames(flow, payload)))
    assert isinstance(sender, MqttDevice)
    from mqproof.dissectors.mqtt.codec import encode as encode_mqtt

    return encode_mqtt(sender.packet(flow, payload, 1), sender.version)


def _phases(file: Path, port: int, begin: int, marks: _Marks) -> list[Phase]:
    """Add up the packets of the connection that has this port, phase by phase."""
    sums = {name: [0, 0, 0] for name, _ in marks.ends}
    for moment, segment_port, segment in _segments(file):
        if segment_port == port:
            name = next((name for name, end in marks.ends if moment <= end), marks.ends[-1][0])
            for index, value in enumerate((segment.ip_octets, segment.packets, segment.length)):
                sums[name][index] += value
    found = []
    for name, (octets, packets, stream) in sums.items():
        count, payload = marks.counts[name]
        found.append(Phase(name, count, octets, packets, stream, payload))
    return found


def _segments(file: Path) -> Iterator[tuple[int, int, TcpPacket]]:
    """Yield time, each of the two ports, and the TCP packet."""
    opener = Opener()
    for packet in read_packets(file):
        found = opener.tcp(packet)
        if found is not None:
            for end in (found.source, found.sink):
                yield packet.time, int.from_bytes(end[-2:]), found


def memory_of(pids: Sequence[int]) -> int | None:
    """Return the resident octets of these processes and their children; None where there are none."""
    import psutil

    total = 0
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            total += sum(process.memory_info().rss for process in family)
        except psutil.NoSuchProcess:
            continue
    return total or None


def cpu_of(pids: Sequence[int]) -> float:
    """Return the CPU seconds that these processes and their children have used."""
    import psutil

    total = 0.0
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
            total += sum(one.user + one.system for one in times)
        except psutil.NoSuchProcess:
            continue
    return total


@dataclass(frozen=True, slots=True)
class Memory:
    """A broker's resident memory, octets: ``idle``, and what each idle connection and each queued message adds."""

    idle: int
    per_connection: float
    per_queued: float


def memory(target: Target, pids: Sequence[int], workload: Workload, name: str) -> Memory:
    """Measure the memory of a broker that was just started. Raises NoAnswer, OSError."""
    idle = _settled(pids)
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            stack.callback(device(target, f"{name}{number}").hang_up)
        connected = _settled(pids)
    before = _settled(pids)
    count = _fill(target, workload, name)
    after = _settled(pids)
    return Memory(idle, (connected - idle) / CONNECTIONS, (after - before) / count)


def _settled(pids: Sequence[int]) -> int:
    """Return the memory when it has stopped to move, at least for a moment."""
    last = memory_of(pids) or 0
    until = time.monotonic() + 6 * SETTLE
    while time.monotonic() < until:
        _pause(SETTLE)
        now = memory_of(pids) or 0
        if abs(now - last) < last / 500:
            return now
        last = now
    return last


def _pause(seconds: float) -> None:
    """Let the broker alone for a moment: its memory follows by itself, and tells nobody."""
    import select

    select.select([], [], [], seconds)


def _fill(target: Target, workload: Workload, name: str) -> int:
    """Publish messages that wait for a consumer; return how many."""
    main = max(workload.flows, key=lambda flow: flow.rate * flow.mean_payload)
    payloads = payloads_of(main, QUEUED)
    if target.protocol == "amqp":
        return _fill_amqp(target, main, payloads, name)
    return _fill_mqtt(target, payloads, name)


def _fill_amqp(target: Target, flow: Flow, payloads: Sequence[bytes], name: str) -> int:
    made = AmqpDevice(target, name)
    made.open()
    made.confirm()
    for number in range(QUEUES):
        queue = f"{name}-{number}"
        made.call("queue.declare", "queue.declare-ok", queue=queue, durable=flow.persistent)
        frames = [frame for payload in payloads for frame in _direct(queue, flow, payload)]
        made.send(*frames)
        _await_confirms(made, len(payloads) * (number + 1))
    made.hang_up()
    return QUEUES * len(payloads)


def _direct(queue: str, flow: Flow, payload: bytes) -> list[Frame]:
    from mqproof.dissectors.amqp import codec as amqp

    properties = {"delivery_mode": 2} if flow.persistent else {}
    return list(amqp.content("basic.publish", body=payload, properties=properties, routing_key=queue))


def _await_confirms(made: AmqpDevice, last: int) -> None:
    while made.wait("basic.ack").arguments["delivery_tag"] < last:
        pass


def _fill_mqtt(target: Target, payloads: Sequence[bytes], name: str) -> int:
    """QoS 1 messages for sessions that are away."""
    from mqproof.dissectors.mqtt import codec as mqtt

    for number in range(QUEUES):
        away = MqttDevice(target, f"{name}away{number}")
        away.clean = False
        if "mqtt-5.0" in target.capabilities:
            away.use(Version.V5_0)
        away.open()
        away.send(mqtt.Subscribe(1, (mqtt.Subscription(f"{name}/{number}", 1),)))
        away.wait(mqtt.Suback)
        away.close()
    sender = MqttDevice(target, f"{name}fill")  # 3.1.1: without a window for the sender
    sender.open()
    for number in range(QUEUES):
        packets = (mqtt.Publish(f"{name}/{number}", payload, 1, packet_id=n) for n, payload in enumerate(payloads, 1))
        sender.socket.sendall(b"".join(mqtt.encode(packet, sender.version) for packet in packets))
        for _ in payloads:
            sender.wait(mqtt.Puback)
    sender.close()
    return QUEUES * len(payloads)
