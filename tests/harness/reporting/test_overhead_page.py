"""docs/overhead.md: what it says is in the captures, and is what the two protocols need by their specifications."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import pytest
from mqproof.harness.reporting.overhead_page import MESSAGES, SIZES, Measured, contents, measure

ROOT = Path(__file__).parents[3]
NAME = 9  # octets of sensors/a
# Worked out by hand from MQTT 3.1.1 sections 3.3, 3.4 to 3.7 and AMQP 0-9-1 sections 1.8, 4.2.3 and 4.2.6: both legs.
PUBLISH = 2 + 2 + NAME
CONTENT = (8 + 4 + 2 + 1 + 1 + NAME + 1) + (8 + 4 + 2 + 8 + 1 + 1 + 1 + NAME) + 2 * (8 + 14)
OWN = {
    "mqtt-overhead-qos0": 2 * PUBLISH,
    "mqtt-overhead-qos1": 2 * (PUBLISH + 2 + 4),
    "mqtt-overhead-qos2": 2 * (PUBLISH + 2 + 3 * 4),
    "amqp-overhead-no-ack": CONTENT,
    "amqp-overhead": CONTENT + 2 * (8 + 4 + 8 + 1),
}


@pytest.fixture(scope="module")
def found() -> Mapping[str, Measured]:
    return measure(ROOT / "captures")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("size", SIZES)
def test_octets_of_the_protocols_are_those_of_their_specifications(
    found: Mapping[str, Measured], name: str, size: int
) -> None:
    longer_length = 2 if name.startswith("mqtt") and size >= 256 else 0
    bodies = 2 * 8 if name.startswith("amqp") and size else 0
    assert found[name].per_message(size, "frame_bytes") - 2 * size == OWN[name] + longer_length + bodies
    assert found[name].sizes[size]["messages"] == found[name].sizes[size]["deliveries"] == MESSAGES


def test_the_page_and_its_charts_are_what_the_captures_give() -> None:
    for name, text in contents(ROOT / "captures").items():
        assert (ROOT / "docs" / name).read_text() == text, f"run: make -B docs/overhead.md ({name})"


def test_charts_are_well_formed_and_call_nobody() -> None:
    for name, text in contents(ROOT / "captures").items():
        if name.endswith(".svg"):
            ElementTree.fromstring(text)
            assert text.count("http") == 1  # the name space
