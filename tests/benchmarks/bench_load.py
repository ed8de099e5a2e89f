"""How much load the engine puts on brokers, against Locust users on pika and paho and a bare blaster, in one run.

    python tests/benchmarks/bench_load.py [SECONDS]

The engine and the users publish, confirm (AMQP, MQTT QoS 1), deliver and book every message: ledger, acknowledgements
and histogram are on. The blaster is a loop of ``sendall`` of one pre-encoded batch that nobody reads; its rate ends at
a reply to something sent last. CPU seconds are of our load process (its start included, about 1 s) and of the broker's.
"""

import json
import os
import resource
import socket
import subprocess
import sys
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

    def print(self, users: float | None) -> None:
        """Print a line; ``users``: the rate that this one is compared with."""
        ratio = f"{self.rate / users:6.1f}x" if users else "      -"
        cpu = f"{self.ours:8.2f} {self.broker:8.2f}" if self.ours is not None else f"{'-':>8} {'-':>8}"
        sys.stdout.write(f"{self.name:44}{self.rate:12,.0f}{ratio} {cpu}\n")
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
    return Row(name, result["metrics"]["delivery_rate_msg_s"], ours / delivered, broker_used / delivered)


def blasted(name: str, target: Target, opening: list[bytes], batch: bytes, last: bytes, reply: bytes) -> Row:
    """Send ``batch`` over and over for a while, then ``last``; the clock stops at ``reply``."""
    with socket.create_connection((target.host, target.port)) as connection:
        for octets in opening:
            connection.sendall(octets)
            connection.recv(65536)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            connection.sendall(batch)
            count += BATCH
        connection.sendall(last)
        received = b""
        while reply not in received:
            received = received[-64:] + connection.recv(65536)
        return Row(name, count / (time.perf_counter() - start))


def amqp_blast(target: Target) -> Row:
    """Publish into a short queue that drops its head, so that memory stays bounded."""
    opening = [
        amqp.ProtocolHeader(),
        amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US"),
    ]
    tuned = [
        amqp.method("connection.tune-ok", 0, channel_max=10, frame_max=131072, heartbeat=0),
        amqp.method("connection.open", 0, virtual_host="/"),
    ]
    declare = amqp.method("queue.declare", queue=QUEUE, exclusive=True, arguments={"x-max-length": 1000})
    words = [amqp.encode(frame) for frame in opening]
    words += [b"".join(map(amqp.encode, tuned)), amqp.encode(amqp.method("channel.open")), amqp.encode(declare)]
    batch = b"".join(map(amqp.encode, amqp.content("basic.publish", body=bytes(PAYLOAD), routing_key=QUEUE))) * BATCH
    last = amqp.encode(amqp.method("queue.declare", queue=QUEUE, passive=True))
    return blasted("blaster, unconfirmed, nobody reads", target, words, batch, last, bytes([0, 50, 0, 11]))


def mqtt_blast(target: Target) -> Row:
    """Publish at QoS 0 to a topic without a subscriber."""
    version = Version.V3_1_1
    connect = mqtt.Connect("blaster", user_name=target.user, password=(target.password or "").encode() or None)
    batch = mqtt.encode(mqtt.Publish("mqproof/blaster", bytes(PAYLOAD)), version) * BATCH
    ping, pong = mqtt.encode(mqtt.Pingreq(), version), mqtt.encode(mqtt.Pingresp(), version)
    return blasted("blaster, QoS 0, nobody reads", target, [mqtt.encode(connect, version)], batch, ping, pong)


def compare(broker: LocalBroker, target: Target) -> None:
    """Print the table of one target."""
    users = {"rate": 100_000.0, "work": 0.0, "users": 10, "prefetch": 1000}
    sys.stdout.write(f"\n{target.name}, {PAYLOAD} octets\n")
    sys.stdout.write(f"{'':44}{'msg/s':>12}{'ratio':>7} {'our CPU':>8} {'broker':>8}  s per million\n")
    if target.protocol == "amqp":
        baseline = measured("Locust users on pika, confirms, acks", broker, target, "welcome-email", **users)
        rows = [measured("engine, confirms, acks, ledger", broker, target, "throughput"), amqp_blast(target)]
    else:
        baseline = measured("Locust users on paho, QoS 0", broker, target, "welcome-email", **users, qos=0)
        rows = [measured(f"engine, QoS {qos}, ledger", broker, target, "throughput", qos=qos) for qos in (0, 1)]
        rows.append(mqtt_blast(target))
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
    """Measure on every broker that is installed."""
    global SECONDS
    SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for name in ("mosquitto", "rabbitmq", "embedded"):
        driver = DRIVERS[name]
        if driver.availability().installed:
            with driver.start() as broker:
                for target in broker.targets:
                    compare(broker, target)
                    if name == "mosquitto":
                        hold(broker, target)


if __name__ == "__main__":
    main()
