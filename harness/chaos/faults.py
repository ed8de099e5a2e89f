"""The names of what can go wrong, as people who write applications know it."""

MESSAGES = {
    "duplicate-delivery": "a message is delivered twice; in AMQP the copy says redelivered",
    "lost-delivery": "a message never reaches its consumer, and the broker believes that it did",
    "delayed-delivery": "a message arrives late, and later ones overtake it (option delay, 500 ms)",
    "reordered-delivery": "a message changes places with the one behind it, or waits for it (option delay, 500 ms)",
    "changed-body": "the last octet of a delivered body is another one",
    "lost-ack": "the consumer's acknowledgement of a message never reaches the broker",
    "lost-publish": "a published message is lost, and confirmed all the same",
    "duplicate-publish": "a published message reaches the broker twice",
    "lost-confirm": "a message is published, and its confirm never arrives",
    "refused-publish": "a message is refused: basic.nack, or in MQTT 5.0 the reason code 0x97",
    "cut-on-delivery": "the connection is reset instead of delivering a message",
    "cut-on-publish": "the connection is reset when the broker has the message and before it says so",
}
TRANSPORT = {
    "latency": "everything takes longer (option delay, 100 ms; jitter, 0)",
    "jitter": "everything takes longer by chance (option jitter, 50 ms)",
    "bandwidth": "no more than so many octets per second pass each way (option rate, 10k)",
    "slow-close": "the end of a connection is passed on late (option delay, 5 s)",
    "reset": "the connection is reset (option delay: seconds after it began, 0)",
    "black-hole": "everything that is sent disappears, and the connection stays",
    "partition": "nothing passes until it is over; then everything comes that was sent meanwhile",
}
PUBLISHING = frozenset({"lost-publish", "duplicate-publish", "lost-confirm", "refused-publish", "cut-on-publish"})
DELIVERING = frozenset(MESSAGES) - PUBLISHING


def broker_faults(protocol: str) -> dict[str, str]:
    """Return the faults of brokers that can stand before any broker of this protocol: name and what it does."""
    from mqproof.harness.saboteur.core import FAULTS
    from mqproof.harness.saboteur.running import load_faults

    load_faults()
    return {spec.name: spec.says for spec in FAULTS.values() if spec.protocol == protocol and not spec.defect}


def known_faults(protocol: str) -> dict[str, str]:
    """Return every fault that ``sabotage`` knows before a broker of this protocol: name and what it does."""
    return {**broker_faults(protocol), **MESSAGES, **TRANSPORT}
