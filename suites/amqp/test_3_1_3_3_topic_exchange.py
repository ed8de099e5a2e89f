"""AMQP 0-9-1 section 3.1.3.3: the topic exchange."""

import pytest

PATTERNS = [
    ("user.*.error", "user.login.error", True),
    ("user.*.error", "user.error", False),  # * is one word, never none
    ("user.*.error", "user.login.form.error", False),  # nor two
    ("user.*.error", "user.login.errors", False),
    ("user.*.error", "user.login.error.fatal", False),
    ("logs.#", "logs", True),  # zero words
    ("logs.#", "logs.app", True),
    ("logs.#", "logs.app.disk.full", True),
    ("logs.#", "log.app", False),
    ("logs.#", "app.logs.disk", False),
    ("*.stock.#", "usd.stock", True),
    ("*.stock.#", "eur.stock.db", True),
    ("*.stock.#", "stock.nasdaq", False),
    ("#", "", True),
    ("#", "one", True),
    ("#", "one.two.three", True),
    ("*", "one", True),
    ("*", "one.two", False),
    ("a.*", "a", False),
    ("#.b", "b", True),
    ("#.b", "a.a.b", True),
    ("#.b", "a.b.c", False),
    ("a.#.c", "a.c", True),
    ("a.#.c", "a.b.b.c", True),
    ("a.#.c", "a.b.b", False),
    ("#.*", "one", True),
    ("#.*", "one.two", True),
    ("#.#", "one", True),
    ("#.a.#", "b.a.b", True),
    ("#.a.#", "b.c.b", False),
    ("*.*", "one.two", True),
    ("*.*", "one", False),
    ("*.*", "one.two.three", False),
    ("a.b", "a.b", True),
    ("a.b", "a.B", False),
    ("a.b", "ab", False),
    ("a*", "ab", False),  # a wildcard is a whole word
    ("a#", "a.b", False),
]


@pytest.mark.normative("amqp-0-9-1:3.1.3.3/words")
@pytest.mark.parametrize(("pattern", "key", "reaches"), PATTERNS)
def test_topic_pattern_selects_keys(amqp, pattern, key, reaches):
    exchange = amqp.exchange("topic")
    queue = amqp.queue(pattern, exchange=exchange)
    body = amqp.publish(exchange, key)  # returns when the broker has routed it
    assert amqp.drain(queue) == ([body] if reaches else [])  # drain ends at a fence through the same exchange


@pytest.mark.normative("amqp-0-9-1:3.1.3.3/words")
def test_topic_exchange_serves_many_patterns_at_once(amqp):
    exchange = amqp.exchange("topic")
    patterns = ("user.*.error", "logs.#", "#.error", "user.#")
    queues = {pattern: amqp.queue(pattern, exchange=exchange) for pattern in patterns}
    bodies = {key: amqp.publish(exchange, key) for key in ("user.login.error", "logs.disk.error", "user", "other")}
    expected = {
        "user.*.error": ["user.login.error"],
        "logs.#": ["logs.disk.error"],
        "#.error": ["user.login.error", "logs.disk.error"],
        "user.#": ["user.login.error", "user"],
    }
    got = {pattern: amqp.drain(queue) for pattern, queue in queues.items()}
    assert got == {pattern: [bodies[key] for key in keys] for pattern, keys in expected.items()}


@pytest.mark.normative("amqp-0-9-1:3.1.3.3/amq.topic")
def test_amq_topic_is_there_and_routes_by_pattern(wire):
    wire.send("exchange.declare", exchange="amq.topic", type="topic", passive=True)
    wire.must_receive("exchange.declare-ok")
    word = wire.things.absent("word")
    queue = wire.queue(f"{word}.*.error", exchange="amq.topic")
    body = wire.publish("amq.topic", f"{word}.login.error")
    wire.publish("amq.topic", f"{word}.error")
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.3.3/offered")
def test_topic_exchange_type_is_offered(wire):
    wire.send("exchange.declare", exchange=wire.things.exchange(), type="topic")
    wire.must_receive("exchange.declare-ok")
