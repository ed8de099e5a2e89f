"""What is known of brokers that lose or repeat messages by their own design, and what the text lets any broker lose."""

KILLS = ("kill", "hard restart")  # beginnings of disruptions that end the broker without warning
ALLOWED = (
    "MQTT lets a server lose Session state when its hardware or software fails (section 4.1.1 of 3.1.1 and of 5.0): "
    "outliving a kill is a feature, which this broker lacks"
)
STORES_SOME = (
    "mosquitto, told to save as often as it can (autosave_on_changes, autosave_interval 1), writes its database after "
    "subscription changes, retained messages and queued messages (mosquitto.conf(5)); a message in flight to a "
    "connected client is none of these"
)
KNOWN: tuple[tuple[str, str, str, str], ...] = (
    # driver, beginning of the disruption's name, kind of problem, reason
    (
        "mosquitto", "fill", "confirmed-lost",
        "mosquitto drops what exceeds max_queued_messages for an absent subscriber, and acknowledges it all the same",
    ),
    *(
        (
            "mosquitto", disruption, "duplicated",
            "mosquitto sends PUBLISH again for which it has PUBREC (MQTT-4.3.3-1) where two connections of a client "
            "end in quick succession: a PUBREL that it could not send again on the second turns into PUBLISH",
        )
        for disruption in ("cut", "partition", "pause")
    ),
    (
        "rabbitmq", "kill", "queue-lost",
        "Mnesia, where RabbitMQ 3 keeps its queues, writes down that a declaration is committed some time after "
        "declare-ok, and drops it at the next start where it was killed before that; what was confirmed in the queue "
        "goes with it",
    ),
)  # fmt: skip


def known_reason(driver: str, disruption: str, kind: str) -> str:
    """Return why this is known of the broker, or an empty text."""
    for name, beginning, problem, reason in KNOWN:
        if (name, problem) == (driver, kind) and disruption.startswith(beginning):
            return reason
    return ""


def allowed_reason(driver: str, protocol: str, disruption: str, kind: str) -> str:
    """Return why the text allows this, or an empty text.

    AMQP does not: a persistent message is "guaranteed to be delivered even if there is a serious network failure,
    server crash, overflow etc." (section 3.1.1). Nor may an MQTT server invent messages or change their order.
    """
    if protocol != "mqtt" or not disruption.startswith(KILLS) or kind not in ("confirmed-lost", "duplicated"):
        return ""
    return f"{ALLOWED}: {STORES_SOME}" if driver == "mosquitto" else ALLOWED
