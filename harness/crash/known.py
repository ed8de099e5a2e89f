"""What is known of brokers that lose or repeat messages by their own design, with the reason."""

STORES_LATER = (
    "mosquitto writes its database between messages, not before it acknowledges one (autosave_on_changes, "
    "autosave_interval): a kill takes what came since"
)
KNOWN: tuple[tuple[str, str, str, str], ...] = (
    # driver, beginning of the disruption's name, kind of problem, reason
    ("mosquitto", "kill", "confirmed-lost", STORES_LATER),
    ("mosquitto", "kill", "duplicated", STORES_LATER),
    ("mosquitto", "hard restart", "confirmed-lost", STORES_LATER),
    ("mosquitto", "hard restart", "duplicated", STORES_LATER),
    (
        "mosquitto", "fill", "confirmed-lost",
        "mosquitto drops what exceeds max_queued_messages for an absent subscriber, and acknowledges it all the same",
    ),
)  # fmt: skip


def known_reason(driver: str, disruption: str, kind: str) -> str:
    """Return why this is known of the broker, or an empty text."""
    for name, beginning, problem, reason in KNOWN:
        if (name, problem) == (driver, kind) and disruption.startswith(beginning):
            return reason
    return ""
