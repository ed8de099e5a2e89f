"""The registry holds every statement once, and a reason for each that cannot be tested."""

import pytest
from mqproof.harness.statements import registry
from mqproof.harness.statements.registry import UnknownStatement, find, load, statements


@pytest.mark.parametrize(
    ("spec", "source", "count"),
    [
        ("amqp-0-9-1", "rules", 139),
        ("amqp-0-9-1", "prose", 62),
        ("amqp-0-9-1", "extension", 100),
        ("mqtt-3.1.1", "standard", 141),
        ("mqtt-5.0", "standard", 251),
    ],
)
def test_tables_hold_all_statements_under_ids_of_their_own(spec: str, source: str, count: int) -> None:
    assert len({entry.id for entry in statements(spec) if entry.source == source}) == count


def test_no_two_statements_of_a_specification_share_an_id() -> None:
    assert len(load()) == 139 + 62 + 100 + 141 + 251


def test_untestable_statements_have_a_reason_and_no_others_do() -> None:
    without = [entry.key for entry in statements() if entry.testable == "no" and not entry.reason]
    surplus = [key for key in registry._reasons() if key not in load() or find(key).testable != "no"]
    assert (without, surplus) == ([], [])


def test_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownStatement, match=r"the nearest is mqtt-5\.0:MQTT-3\.1\.2-10"):
        find("mqtt-5.0:MQTT-3.1.2-100")


def test_unknown_specification_names_the_known_ones() -> None:
    with pytest.raises(UnknownStatement, match="amqp-0-9-1, mqtt-3"):
        statements("mqtt-4")


def test_permissions_to_servers_cannot_be_broken_but_permissions_to_clients_can() -> None:
    assert find("amqp-0-9-1:basic/07").is_may
    assert not find("amqp-0-9-1:queue.declare.exclusive/exclusive").is_may
