"""What a test leaves behind is known, also where it wrote its packets by hand."""

import pytest
from mqproof.dissectors.mqtt.codec import Publish, encode
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.wires.mqtt_link import Belongings


def octets(topic: str, payload: bytes = b"x", *, flags: int | None = None, **changes: int) -> bytes:
    return encode(Publish(topic, payload, retain=True, **changes), Version.V3_1_1, flags=flags)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (octets("ours-1"), ["ours-1"]),
        (octets("ours/1", b"x" * 200), ["ours/1"]),  # a remaining length of two octets
        (octets("ours-1", qos=1, packet_id=5), ["ours-1"]),
        (octets("ours-1", flags=0b1001), ["ours-1"]),  # QoS 0 with DUP: the broker may take it
        (octets("ours-1", flags=0b0000), []),  # not retained
        (octets("ours/#"), []),  # could not be cleared
        (b"\x31", []),
        (b"\x31\xff\xff\xff\xff", []),
        (b"", []),
        (b"\x10\x03abc", []),
    ],
)
def test_a_publish_made_by_hand_is_noted(said: bytes, left: list[str]) -> None:
    belongings = Belongings(None)
    belongings.note_octets(said)
    assert list(belongings.retained) == left
