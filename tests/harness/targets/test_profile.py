"""Which profile speaks of which product and version."""

import pytest
from mqproof.harness.targets.profile import all_profiles, in_range, matches


@pytest.mark.parametrize(
    ("version", "conditions", "holds"),
    [
        ("3.10.8", ">=3.8, <4", True),
        ("3.10.8", ">=3.8", True),  # numbers, not text
        ("4.0", "<4", False),
        ("4", "==4.0.0", True),
        ("3.12.1-beta.2+x", ">3.12", True),
        ("unknown", ">=1", False),
        ("unknown", "", True),
        ("9" * 5000, ">=3", True),  # more digits than int() takes
    ],
)
def test_versions_are_compared_as_numbers(version: str, conditions: str, holds: bool) -> None:
    assert in_range(version, conditions) is holds


def test_a_profile_speaks_of_its_product_and_protocol_only() -> None:
    profile = {"product": "RabbitMQ", "protocol": "amqp"}
    assert matches(profile, "rabbitmq", "3.10.8", "amqp")
    assert not matches(profile, "rabbitmq", "3.10.8", "mqtt")
    assert not matches(profile, "mosquitto", "3.10.8", "amqp")
    assert not matches({}, "mosquitto", "1", "mqtt")


def test_every_profile_names_a_product() -> None:
    profiles = all_profiles()
    assert len(profiles) >= 3
    assert [name for name, profile in profiles if not profile.get("product")] == []
