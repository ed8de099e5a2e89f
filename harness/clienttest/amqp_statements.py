"""Which rule a request breaks when the broker refuses it, and which it keeps when it is granted (AMQP 0-9-1 XML)."""

# method -> argument -> the rule that what it names must exist: reply code 404
MISSING: dict[str, dict[str, str]] = {
    "exchange.delete": {"exchange": "exchange.delete.exchange/exists"},
    "exchange.bind": {
        "destination": "exchange.bind.destination/exchange-existence",
        "source": "exchange.bind.source/exchange-existence",
    },
    "exchange.unbind": {
        "destination": "exchange.unbind.destination/must-exist",
        "source": "exchange.unbind.source/must-exist",
    },
    "queue.declare": {"queue": "queue.declare.passive/passive"},
    "queue.bind": {"queue": "queue.bind.queue/must-exist", "exchange": "queue.bind.exchange/exchange-existence"},
    "queue.unbind": {"queue": "queue.unbind.queue/must-exist", "exchange": "queue.unbind.exchange/must-exist"},
    "queue.purge": {"queue": "queue.purge.queue/must-exist"},
    "queue.delete": {"queue": "queue.delete.queue/must-exist"},
    "basic.publish": {"exchange": "basic.publish.exchange/must-exist"},
}
# method and reply code -> rules, of which the first that applies to the request is meant
REFUSED: dict[tuple[str, int], tuple[str, ...]] = {
    ("exchange.declare", 403): ("exchange.declare.exchange/reserved",),
    ("exchange.declare", 503): ("exchange.declare.type/support",),
    ("exchange.delete", 406): ("exchange.delete.if-unused/in-use",),
    ("queue.declare", 403): ("queue.declare.queue/reserved",),
    ("queue.declare", 405): ("queue.declare.exclusive/exclusive",),
    ("queue.bind", 405): ("queue.declare.exclusive/exclusive",),
    ("queue.unbind", 405): ("queue.declare.exclusive/exclusive",),
    ("queue.purge", 405): ("queue.declare.exclusive/exclusive",),
    ("queue.delete", 405): ("queue.declare.exclusive/exclusive",),
    ("basic.consume", 405): ("queue.declare.exclusive/exclusive",),
    ("basic.get", 405): ("queue.declare.exclusive/exclusive",),
    ("queue.delete", 406): ("queue.delete.if-unused/in-use", "queue.delete.if-empty/not-empty"),
    ("basic.consume", 403): ("basic.consume.exclusive/01",),
}
QUEUE_KNOWN = {
    "queue.bind": "queue.bind.queue/queue-known",
    "queue.unbind": "queue.unbind.queue/queue-known",
    "queue.purge": "queue.purge.queue/queue-known",
    "queue.delete": "queue.delete.queue/queue-known",
}
# method -> the rules that a granted request has kept, where they apply to it
GOOD: dict[str, tuple[str, ...]] = {
    "exchange.declare": ("exchange.declare.exchange/reserved", "exchange.declare.type/support"),
    "exchange.delete": (*MISSING["exchange.delete"].values(), "exchange.delete.if-unused/in-use"),
    "exchange.bind": tuple(MISSING["exchange.bind"].values()),
    "exchange.unbind": tuple(MISSING["exchange.unbind"].values()),
    "queue.declare": ("queue.declare.queue/reserved", "queue.declare.exclusive/exclusive"),
    "queue.bind": tuple(MISSING["queue.bind"].values()),
    "queue.unbind": tuple(MISSING["queue.unbind"].values()),
    "queue.purge": tuple(MISSING["queue.purge"].values()),
    "queue.delete": (
        *MISSING["queue.delete"].values(), "queue.delete.if-unused/in-use", "queue.delete.if-empty/not-empty",
    ),
    "basic.consume": ("basic.consume.exclusive/01",),
    "basic.publish": tuple(MISSING["basic.publish"].values()),
}  # fmt: skip
UNSEEN = {
    "domain.redelivered/hinting": "leaves no trace: what the application makes of the flag",
    "connection.start-ok.mechanism/security": "leaves no trace: which mechanism is stronger is not laid down",
    "basic.reject/03": "leaves no trace: why a message is rejected",
    "basic.nack/03": "leaves no trace: why a message is refused",
    "basic.nack/04": "leaves no trace: what a publisher does about it",
    "tx/not-multiple-queues": "leaves no trace: what the application relies on",
    "tx/not-immediate": "leaves no trace: what the application relies on",
    "tx/not-mandatory": "leaves no trace: what the application relies on",
    "confirm/time-guarantees": "leaves no trace: what the application relies on",
}
