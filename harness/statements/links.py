"""Where a statement stands in the published text of its specification."""

import re

from mqproof.harness.statements.registry import Statement

AMQP = "https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf"
AMQP_REFERENCE = "https://www.rabbitmq.com/amqp-0-9-1-reference"
EXTENSIONS = "https://www.rabbitmq.com/docs/specification#extensions"
MQTT = {
    "mqtt-3.1.1": "https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html",
    "mqtt-5.0": "https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html",
}


def link_of(statement: Statement) -> str:
    """Return the address of the text that the statement is taken from, as near to it as that text has anchors."""
    if statement.spec in MQTT:
        return MQTT[statement.spec]
    if statement.source == "extension":
        return EXTENSIONS
    if statement.source == "rules":
        return _rule(statement.id)
    return AMQP


def _rule(identifier: str) -> str:
    method = re.match(r"(connection|channel|exchange|queue|basic|tx)\.([a-z-]+)", identifier)
    return f"{AMQP_REFERENCE}#{method[1]}.{method[2]}" if method else AMQP_REFERENCE
