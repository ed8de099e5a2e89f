"""A broker that carries nothing for us is not judged: missing rights look like lost messages."""

from dataclasses import replace
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import Puback, Publish, Suback
from mqproof.harness.patience import patience
from mqproof.harness.probing.mqtt_rights import must_carry
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.errors import LoginRefused
from mqproof.harness.targets.identify import identify


class NoSubscription(MqttFault):
    """Refuses every subscription."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [replace(packet, reason_codes=(0x80,))] if isinstance(packet, Suback) else None


class NoMessage(MqttFault):
    """Refuses every message, as 5.0 lets a server say."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Puback):
            return [replace(packet, reason_code=0x87)]
        return [] if isinstance(packet, Publish) else None


class Mute(MqttFault):
    """Acknowledges what it does not authorise, and drops it."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        return [] if isinstance(packet, Publish) else None


class LosesTheFirst(MqttFault):
    """Loses a message: a fault that the suites have to find."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        first = isinstance(packet, Publish) and not conn.memory.setdefault("seen", False)
        conn.memory["seen"] = conn.memory.get("seen") or isinstance(packet, Publish)
        return [] if first else None


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.3)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (NoSubscription, "the server refuses a subscription to run-rights-"),
        (NoMessage, "the server refuses a message to run-rights-"),
        (Mute, "nothing comes of what was published to run-rights-"),
    ],
)
def test_a_broker_that_carries_nothing_for_us_cannot_be_examined(
    fault: type[MqttFault], words: str, embedded: LocalBroker
) -> None:
    with ProxyLoop() as loop:
        target = identify(loop.proxy(embedded.target("mqtt"), passage_for(fault())).target).with_(driver=None)
        with pytest.raises(LoginRefused, match=words) as raised:
            must_carry(target, "run")
    assert "may anybody publish and subscribe" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_broker_that_loses_a_message_is_judged(embedded: LocalBroker) -> None:
    with ProxyLoop() as loop:
        target = identify(loop.proxy(embedded.target("mqtt"), passage_for(LosesTheFirst())).target).with_(driver=None)
        assert must_carry(target, "run") is target
