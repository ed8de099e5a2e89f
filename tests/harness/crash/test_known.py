"""What a kill may take from an MQTT broker is no deviation; everything else is."""

import pytest
from mqproof.harness.crash.history import Problem
from mqproof.harness.crash.report import page
from mqproof.harness.crash.rounds import Outcome
from mqproof.harness.verdicts import Verdict

GONE = Problem("queue-lost", (7,))
LOST, TWICE, STRANGE = Problem("confirmed-lost", (7,)), Problem("duplicated", (7,)), Problem("unexpected", (7,))


@pytest.mark.parametrize(
    ("driver", "protocol", "disruption", "problems", "verdict"),
    [
        ("mosquitto", "mqtt", "kill", [LOST, TWICE], Verdict.UNSUPPORTED),
        ("mosquitto", "mqtt", "hard restart, PUBREC received", [LOST], Verdict.UNSUPPORTED),
        ("rabbitmq", "mqtt", "kill", [LOST], Verdict.UNSUPPORTED),
        ("mosquitto", "mqtt", "kill", [LOST, STRANGE], Verdict.DEVIATES),
        ("mosquitto", "mqtt", "kill", [], Verdict.CONFORMS),
        ("mosquitto", "mqtt", "soft restart, PUBREC received", [LOST], Verdict.DEVIATES),
        ("mosquitto", "mqtt", "cut", [TWICE], Verdict.KNOWN_DEVIATION),
        ("mosquitto", "mqtt", "cut", [TWICE, LOST], Verdict.DEVIATES),
        ("mosquitto", "mqtt", "soft restart, PUBREC sent", [TWICE], Verdict.DEVIATES),
        ("rabbitmq", "mqtt", "cut", [TWICE], Verdict.DEVIATES),
        ("mosquitto", "mqtt", "fill", [LOST], Verdict.KNOWN_DEVIATION),
        ("rabbitmq", "amqp", "kill", [LOST], Verdict.DEVIATES),
        ("rabbitmq", "amqp", "kill", [GONE], Verdict.KNOWN_DEVIATION),
        ("rabbitmq", "amqp", "kill", [GONE, TWICE], Verdict.DEVIATES),
        ("rabbitmq", "amqp", "cut", [GONE], Verdict.DEVIATES),
    ],
)
def test_verdict_of_what_the_ledger_shows(
    driver: str, protocol: str, disruption: str, problems: list[Problem], verdict: Verdict
) -> None:
    assert Outcome(driver, protocol, disruption, problems).verdict is verdict


def test_page_says_why_a_loss_is_no_deviation() -> None:
    text = page([Outcome("mosquitto", "mqtt", "kill", [LOST])], {})
    assert "| kill | 1 | 1 unsupported |" in text
    assert "- unsupported (confirmed-lost): MQTT lets a server lose Session state" in text
