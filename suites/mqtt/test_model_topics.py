"""Section 4.7 against a model: random filters and topics, and every pair of them compared.

Each filter has a connection of its own, so that a delivery tells which filter selected it.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mqproof.harness.verdicts import check
from mqproof.harness.wires.mqtt import MESSAGE
from mqproof.suites.mqtt.topic_model import selects

LEVELS = st.sampled_from(["", "a", "b", "A", "ab", " ", "\u00e4", "$x", "\U0001f4e8"])
NAMES = st.lists(LEVELS, max_size=4).map("/".join)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]), st.lists(st.one_of(LEVELS, st.just("+")), max_size=4),
    st.sampled_from([[], [], ["#"]]),
)  # fmt: skip
EXAMPLES = 6  # of up to 12 filters and 40 topics each: some thousand pairs


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-3.1.1:MQTT-4.7.3-4", "mqtt-5.0:MQTT-4.5.0-1",
    "mqtt-5.0:MQTT-3.3.2-3", "mqtt-5.0:MQTT-4.7.3-4",
)  # fmt: skip
@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(
    patterns=st.lists(FILTERS, min_size=8, max_size=12, unique=True),
    endings=st.lists(NAMES, min_size=20, max_size=40, unique=True),
)
def test_deliveries_are_those_of_the_model(wires, names, patterns, endings):
    root = names("model")
    filters = [f"{root}/{pattern}" for pattern in patterns]
    topics = [f"{root}/{ending}" for ending in endings]
    model = {pattern: {name for name in topics if selects(pattern, name)} for pattern in filters}
    got = deliveries(wires, model, topics)
    missing = {(pattern, name) for pattern in filters for name in model[pattern] - got[pattern]}
    unwanted = {(pattern, name) for pattern in filters for name in got[pattern] - model[pattern]}
    taken_in = ("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
    check(not missing, expected="delivered (filter, name)", actual=missing, statement=taken_in)
    matched = ("mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-3", "mqtt-3.1.1:MQTT-4.7.3-4", "mqtt-5.0:MQTT-4.7.3-4")
    check(not unwanted, expected="not delivered (filter, name)", actual=unwanted, statement=matched)


def deliveries(wires, model, topics):
    """Return the topics that each filter of the model brought.

    The wait ends at a fence on another topic, a weak proof of absence, once as many have come as the model wants.
    """
    subscribers = {pattern: wires.raw(silent=True).connect() for pattern in model}
    fence = wires.names("fence")
    for pattern, subscriber in subscribers.items():
        subscriber.subscribe(pattern, fence, qos=1)
    publisher = wires.raw(silent=True).connect()
    publisher.deliver_all(topics, [b""] * len(topics), qos=1)
    publisher.deliver(fence, b"fence", qos=1)
    got = {pattern: collect(wire, fence, model[pattern]) for pattern, wire in subscribers.items()}
    for wire in (*subscribers.values(), publisher):
        wire.leave()
    return got


def collect(wire, fence, wanted):
    """Return the topics that came until the fence and all that was wanted had come, or time was up."""
    found, _ = wire.messages(lambda so_far: {fence, *wanted} <= {p.topic for p in so_far}, MESSAGE)
    return {p.topic for p in found} - {fence}
