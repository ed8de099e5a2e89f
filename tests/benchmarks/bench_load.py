"""How much load the engine puts on brokers, against Locust users on pika and paho and a bare blaster, in one run.

    python tests/benchmarks/bench_load.py [SECONDS [BROKER…]]

Prints a Markdown table for each broker and protocol. The engine and the users publish, confirm (AMQP, MQTT QoS 1),
deliver and book every message: ledger, acknowledgements and histogram are on. The blaster is a loop of ``sendall`` of
one pre-encoded batch; its rate ends at a reply to something sent last, or, where somebody reads along, at the last
message that came. CPU seconds are of our load process and of the broker, per million messages that went through; the
start of the process is in those of the users only.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import psutil
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.loadtests.scenarios.catalogue import with_defaults
from mqproof.loadtests.settings import Settings

SECONDS = 5.0
PAYLOAD = 64
BATCH = 512
IDLE = 10_000  # connections
QUEUE = "mqproof-blaster"


@dataclass
class Row:
    """One measurement: messages per second, and the CPU seconds that it took per million messages."""

    name: str
    rate: float
    ours: float | None = None
    broker: float | None = None

    def print(self, users: float) -> None:
        """Print a row; ``users``: the rate that this one is compared with."""
        cells = [self.name, f"{self.rate:,.0f}", f"{self.rate / users:.1f}x"]
        cells += [f"{each:.2f}" if each is not None else "" for each in (self.ours, self.broker)]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()


def cpu_of(broker: LocalBroker) -> float:
    """Return the CPU seconds that the broker has used."""
    processes = [psutil.Process(pid) for pid in broker.pids]
    processes += [child for process in processes for child in process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measured(name: str, broker: LocalBroker, target: Target, scenario: str, **given: Any) -> Row:
    """Run the load process of ``mqproof load`` and return what it delivered."""
    numbers = with_defaults(scenario, {"duration": SECONDS, "payload": PAYLOAD, **given})
    settings = Settings(scenario, target.url, **numbers)
    before, start = cpu_of(broker), os.times()
    command = [sys.executable, "-m", "mqproof.loadtests.runner"]
    told = json.dumps(settings.plain()) + "\n"
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
    end = os.times()
    result = json.loads(done.stdout)
    faults = {fault: result["ledger"][fault] for fault in ("lost", "duplicated", "corrupted", "unexpected")}
    if any(faults.values()) or result["errors"]:
        sys.stdout.write(f"  {faults} {result['errors']}\n")
    delivered = result["metrics"]["delivered"] / 1e6
    ours = end.children_user - start.children_user + end.children_system - start.children_system
    broker_used = cpu_of(broker) - before
    if "stages" in result:  # without the start of the process
        watched = result["stages"][0]["broker"]
        ours, broker_used = watched["our_cpu_seconds"], watched["cpu_seconds"]
    return Row(name, result["metrics"]["delivery_rate_msg_s"], ours / delivered, broker_used / delivered)


class Reader(threading.Thread):
    """Reads along and throws away; ``size``: octets of one message as it comes."""

    def __init__(self, target: Target, opening: list[bytes], size: int) -> None:
        super().__init__(daemon=True)
        self.connection, self.size = opened(target, opening), size
        self.octets, self.last = 0, time.perf_counter()
        self.start()

    def run(self) -> None:
        """Read until the connection is shut."""
        buffer = bytearray(1 << 20)
        while count := self.connection.recv_into(buffer):
            self.octets += count
            self.last = time.perf_counter()

    def finish(self) -> None:
        """Wait until nothing has come for a second."""
        while time.perf_counter() - self.last < 1:
            self.join(0.05)
        self.connection.shutdown(socket.SHUT_RDWR)
        self.join()


def opened(target: Target, opening: list[bytes]) -> socket.socket:
    """Return a connection after the words of its opening, each of which is answered."""
    connection = socket.create_connection((target.host, target.port))
    for octets in opening:
        connection.sendall(octets)
        connection.recv(65536)
    return connection


@dataclass
class Blast:
    """What a blaster sends: ``batch`` over and over, then ``last``, whose answer holds ``reply``."""

    opening: list[bytes]
    batch: bytes
    last: bytes
    reply: bytes
    reading: list[bytes]  # opens a connection that reads along
    size: int  # octets of a message that is delivered

    def run(self, name: str, target: Target, *, is_read: bool) -> Row:
        """Send for a while; return what went in, or what came out where it is read along."""
        with opened(target, self.opening) as connection:
            reader = Reader(target, self.reading, self.size) if is_read else None
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < SECONDS:
                connection.sendall(self.batch)
                count += BATCH
            connection.sendall(self.last)
            received = b""
            while self.reply not in received:
                received = received[-64:] + connection.recv(65536)
            end = time.perf_counter()
            if reader is not None:
                reader.finish()
                count, end = reader.octets // self.size, reader.last
            return Row(name, count / (end - start))


def amqp_blast() -> Blast:
    """Publish into a short queue that drops its head, so that memory stays bounded; read without acknowledgements."""
    start = amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US")
    tuned = [
        amqp.method("connection.tune-ok", 0, channel_max=10, frame_max=131072, heartbeat=0),
        amqp.method("connection.open", 0, virtual_host="/"),
    ]
    hello = [amqp.encode(amqp.ProtocolHeader()), amqp.encode(start), b"".join(map(amqp.encode, tuned)),
             amqp.encode(amqp.method("channel.open"))]  # fmt: skip
    declare = amqp.method("queue.declare", queue=QUEUE, auto_delete=True, arguments={"x-max-length": 20_000})
    batch = b"".join(map(amqp.encode, amqp.content("basic.publish", body=bytes(PAYLOAD), routing_key=QUEUE))) * BATCH
    delivered = amqp.content("basic.deliver", body=bytes(PAYLOAD), routing_key=QUEUE, consumer_tag="c", delivery_tag=1)
    consume = amqp.method("basic.consume", queue=QUEUE, consumer_tag="c", no_ack=True)
    return Blast(
        [*hello, amqp.encode(declare)], batch, amqp.encode(amqp.method("queue.declare", queue=QUEUE, passive=True)),
        bytes([0, 50, 0, 11]), [*hello, amqp.encode(declare), amqp.encode(consume)],
        sum(len(amqp.encode(frame)) for frame in delivered),
    )  # fmt: skip


def mqtt_blast(target: Target) -> Blast:
    """Publish at QoS 0."""
    version = Version.V3_1_1
    login = {"user_name": target.user, "password": (target.password or "").encode() or None}
    words = [mqtt.encode(mqtt.Connect(name, **login), version) for name in ("blaster", "reader")]
    message = mqtt.encode(mqtt.Publish("mqproof/blaster", bytes(PAYLOAD)), version)
    subscribe = mqtt.encode(mqtt.Subscribe(1, (mqtt.Subscription("mqproof/blaster", 0),)), version)
    ping, pong = mqtt.encode(mqtt.Pingreq(), version), mqtt.encode(mqtt.Pingresp(), version)
    return Blast(words[:1], message * BATCH, ping, pong, [words[1], subscribe], len(message))


def compare(broker: LocalBroker, target: Target) -> None:
    """Print the table of one target."""
    users = {"rate": 100_000.0, "work": 0.0, "users": 10, "prefetch": 1000}
    cost = "our CPU s per million | broker's"
    sys.stdout.write(f"\n| {target.name}, {PAYLOAD} octets | msg/s | against users | {cost} |\n")
    sys.stdout.write("|---|---:|---:|---:|---:|\n")
    if target.protocol == "amqp":
        baseline = measured("Locust users on pika, confirms, acks", broker, target, "welcome-email", **users)
        rows = [measured("engine, confirms, acks, ledger, histogram", broker, target, "throughput")]
        blast = amqp_blast()
    else:
        baseline = measured("Locust users on paho, QoS 0", broker, target, "welcome-email", **users, qos=0)
        name = "engine, QoS {}, ledger, histogram"
        rows = [measured(name.format(qos), broker, target, "throughput", qos=qos) for qos in (0, 1)]
        blast = mqtt_blast(target)
    rows.append(blast.run("blaster, unconfirmed, read along, nothing booked", target, is_read=True))
    rows.append(blast.run("blaster, unconfirmed, nobody reads", target, is_read=False))
    for row in (baseline, *rows):
        row.print(baseline.rate)


def hold(broker: LocalBroker, target: Target) -> None:
    """Print what many idle connections of one process cost us and the broker."""
    numbers = with_defaults("idle-connections", {"users": IDLE, "duration": 3.0})
    settings = Settings("idle-connections", target.url, **numbers)
    command = [sys.executable, "-m", "mqproof.loadtests.runner"]
    told = json.dumps(settings.plain()) + "\n"
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    held, cost = result["metrics"]["published"], result["stages"][0]["broker"]
    sys.stdout.write(f"\n{held:,} idle connections of one process to {target.name}, lost {result['ledger']['lost']}: ")
    each = cost.get("memory_per_connection", 0) / 1e3
    sys.stdout.write(f"our memory {cost['our_memory_peak'] / 1e6:.0f} MB, the broker's {each:.1f} kB each\n")


def main() -> None:
    """Measure on every broker that is installed, or on those that are named."""
    global SECONDS
    SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for name in sys.argv[2:] or ("mosquitto", "rabbitmq", "embedded"):
        driver = DRIVERS[name]
        if driver.availability().installed:
            with driver.start() as broker:
                for target in broker.targets:
                    compare(broker, target)
                    if name == "mosquitto":
                        hold(broker, target)


if __name__ == "__main__":
    main()
