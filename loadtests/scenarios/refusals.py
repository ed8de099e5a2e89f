"""Combinations that cannot be meant, each with the reason."""

from collections.abc import Callable

from mqproof.loadtests.settings import BadSettings, Settings

EXCHANGES = ("direct", "fanout", "topic", "headers")  # AMQP 0-9-1 section 3.1.3
Rule = tuple[Callable[[Settings], object], str]
MQTT: list[Rule] = [  # what MQTT does not have
    (lambda s: s.queue_type or s.persistent,
     "--queue-type and --persistent are AMQP's: MQTT says what it guarantees by --qos"),
    (lambda s: s.queue_arguments or s.exchange, "--queue-argument and --exchange are AMQP's: MQTT has topics"),
    (lambda s: s.properties, "--property is AMQP's: MQTT 3.1.1 messages have no properties"),
    (lambda s: s.poll, "--poll is AMQP's basic.get: an MQTT broker pushes"),
    (lambda s: s.nack_every, "--nack-every is AMQP's: an MQTT subscriber cannot refuse a message"),
    (lambda s: s.multi_ack, "--multi-ack is AMQP's: MQTT acknowledges each message"),
]  # fmt: skip
AMQP: list[Rule] = [
    (lambda s: s.mqtt_version, "--mqtt-version is MQTT's"),
    (lambda s: s.shared, "--shared is MQTT's: consumers of an AMQP queue share its messages anyway"),
    (lambda s: s.multi_ack > s.prefetch,
     "--multi-ack is more than --prefetch: the broker would wait for an acknowledgement that never comes"),
    (lambda s: s.nack_every and s.multi_ack, "--nack-every and --multi-ack contradict each other: choose one"),
    (lambda s: s.poll and s.multi_ack, "--poll takes one message at a time: --multi-ack has nothing to gather"),
    (lambda s: s.poll and s.consumer_rate, "--poll and --consumer-rate contradict each other: both say how fast"),
    (lambda s: s.max_unconfirmed and not s.confirm, "--max-unconfirmed needs --confirm: nothing tells what arrived"),
    (lambda s: s.queue_type == "quorum" and s.properties.get("delivery_mode") == 1,
     "a quorum queue keeps every message on disk: delivery_mode=1 means nothing there"),
    (lambda s: s.queue_type == "stream",
     "--queue-type stream: a stream keeps what was consumed, so that the ledger could not tell a loss"),
    (lambda s: s.queue_type not in ("", "classic", "quorum", "stream"), "--queue-type is classic or quorum"),
    (lambda s: s.exchange not in ("", *EXCHANGES) and not s.exchange.startswith("x-"),
     f"--exchange is {', '.join(EXCHANGES)}, or a type of the broker's own that begins with x-"),
]  # fmt: skip
BOTH: list[Rule] = [
    (lambda s: s.mqtt_version not in ("", "3.1.1", "5.0"), "--mqtt-version is 3.1.1 or 5.0"),
    (lambda s: s.work and s.consumer_rate, "--work and --consumer-rate contradict each other: choose one"),
    (lambda s: s.ramp and not s.rate and not s.schedule, "--ramp needs --rate: it says what the rate grows to"),
    (lambda s: s.schedule and s.scenario == "traffic-spike", "traffic-spike has a schedule of its own"),
    (lambda s: s.scenario == "traffic-spike" and not s.rate,
     "traffic-spike needs a --rate above 0: its spike is ten times as much"),
    (lambda s: s.sizes and s.payload != 256 and s.payload not in s.sizes, "--payload and --sizes: choose one"),
    (lambda s: not s.requeue and not s.nack_every,
     "--discard says what becomes of messages that --nack-every refuses: give that, too"),
    (lambda s: s.trace and (s.processes > 1 or s.role != "local"),
     "--trace needs all arrivals in one process: not with --processes or --master"),
]  # fmt: skip


def refuse_contradictions(settings: Settings) -> None:
    """Raise BadSettings where the settings contradict each other or the protocol."""
    rules = BOTH + (MQTT if settings.target.protocol == "mqtt" else AMQP)
    for applies, reason in rules:
        if applies(settings):
            raise BadSettings(reason)
