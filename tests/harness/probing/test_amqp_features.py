"""Probes find what a broker offers without saying so, and nothing that it does not do."""

from collections.abc import Iterator
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import Method, method
from mqproof.harness.probing.amqp_features import PROBES, UNTOLD, with_features
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.reference.amqp.capabilities import BY_FEATURE, OFFERED
from mqproof.harness.reference.amqp.server import start_in_thread
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, passage_for
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target, parse_url


@pytest.fixture
def target() -> Iterator[Target]:
    broker = start_in_thread()
    yield parse_url(f"amqp://127.0.0.1:{broker.port}")  # asked by nobody yet: no capability is known
    broker.stop()


def test_every_extension_is_probed_or_has_a_reason_why_not() -> None:
    assert PROBES.keys() | UNTOLD.keys() == {*BY_FEATURE.values(), "durable_storage"}
    assert not PROBES.keys() & UNTOLD.keys()


def test_probes_find_what_the_reference_broker_offers_and_nothing_else(target: Target) -> None:
    found = with_features(target, "mqproof")
    assert found.capabilities == set(OFFERED) & PROBES.keys()
    assert found.untold == UNTOLD.keys()


def test_what_is_known_is_not_probed(target: Target) -> None:
    known = target.with_(driver="embedded")
    assert with_features(known, "mqproof") is known
    announced = identify(target)
    assert with_features(announced, "mqproof").untold == UNTOLD.keys() - set(OFFERED)


def test_a_broker_that_is_gone_offers_nothing() -> None:
    assert with_features(parse_url("amqp://127.0.0.1:1"), "mqproof").capabilities == frozenset()


@pytest.mark.real_broker
def test_probes_agree_with_the_profile_of_a_real_broker() -> None:
    with DRIVERS["rabbitmq"].start(("amqp",)) as broker:
        known = identify(broker.targets[0])
        found = with_features(known.with_(driver=None, product="unknown", capabilities=frozenset()), "mqproof")
    assert found.capabilities == known.capabilities & PROBES.keys()


class TrimsKeys(AmqpFault):
    """Knows no empty word at the end of a key: a. is a."""

    def from_client(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Change the routing key."""
        if not isinstance(frame, Method) or frame.name != "basic.publish":
            return None
        key = frame.arguments["routing_key"].rstrip(".")
        return [method("basic.publish", frame.channel, **(frame.arguments | {"routing_key": key}))]


def test_hash_for_no_word_is_no_extension(target: Target) -> None:
    """The specification says so itself; that a star stands for an empty word, it does not."""
    with ProxyLoop() as loop:
        asked = parse_url(f"amqp://127.0.0.1:{loop.proxy(target, passage_for(TrimsKeys())).target.port}")
        found = with_features(asked, "mqproof").capabilities
    assert "topic_zero_words" not in found
    assert "alternate_exchange" in found
