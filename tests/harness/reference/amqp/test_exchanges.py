"""Exchanges and bindings (section 3.1.3, class exchange)."""

import pytest

FOUR = ["direct", "fanout", "topic", "headers"]


def exchange(peer, name="e", type_="direct", **arguments):
    peer.call("exchange.declare", exchange=name, type=type_, **arguments)
    return name


def bind(peer, queue="q", source="e", key="", arguments=None):
    peer.call("queue.bind", queue=queue, exchange=source, routing_key=key, arguments=arguments or {})


def link(peer, destination, source, key=""):
    peer.call("exchange.bind", destination=destination, source=source, routing_key=key)


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_predeclared_exchanges_are_there_with_their_type(peer, name, type_):
    exchange(peer, name, passive=True)
    exchange(peer, name, type_, durable=True)


def test_every_queue_is_bound_to_the_default_exchange(peer):
    peer.queue("q")
    peer.publish(b"m", "q")
    assert peer.drain() == [b"m"]


@pytest.mark.parametrize(
    ("arguments", "code", "hard"),
    [
        ({"exchange": "none", "passive": True}, 404, False),
        ({"exchange": "amq.new", "type": "direct"}, 403, False),
        ({"exchange": "", "type": "direct"}, 403, False),
        ({"exchange": "", "passive": True}, 403, False),
        ({"exchange": "a b", "type": "direct"}, 406, False),
        ({"exchange": "a/b", "type": "direct"}, 406, False),
        ({"exchange": "ä", "type": "direct"}, 406, False),
        ({"exchange": "a\n", "type": "direct"}, 406, False),
        ({"exchange": "x" * 128, "type": "direct"}, 406, False),
        ({"exchange": "e", "type": "odd"}, 503, True),
        ({"exchange": "e", "type": ""}, 503, True),
        ({"exchange": "e", "type": "direct", "arguments": {"alternate-exchange": 5}}, 406, False),
    ],
)
def test_declare_refuses(peer, arguments, code, hard):
    peer.send("exchange.declare", **arguments)
    peer.expect_closed(code, hard=hard)


@pytest.mark.parametrize("name", ["x" * 127, "aZ09-_.:", "amqp", "."])
def test_declare_takes_these_names(peer, name):
    exchange(peer, name)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"auto_delete": True}, True),
        ({"internal": True}, True),
        ({"type": "fanout"}, False),
        ({"durable": True}, False),
        ({"arguments": {"a": 2}}, False),
        ({"arguments": {}}, False),
        ({"arguments": {"a": 1, "b": 1}}, False),
    ],
)
def test_redeclare_compares(peer, change, same):
    first = {"exchange": "e", "type": "direct", "arguments": {"a": 1}}
    peer.call("exchange.declare", **first)
    peer.send("exchange.declare", **{**first, **change})
    if same:
        peer.expect("exchange.declare-ok")
    else:
        peer.expect_closed(406)


@pytest.mark.parametrize(("name", "code"), [("none", 404), ("", 403), ("amq.direct", 403), ("amq.match", 403)])
def test_delete_refuses(peer, name, code):
    peer.send("exchange.delete", exchange=name)
    peer.expect_closed(code)


def test_delete_if_unused_minds_bindings(peer):
    exchange(peer)
    peer.queue("q")
    bind(peer, key="k")
    peer.send("exchange.delete", exchange="e", if_unused=True)
    peer.expect_closed(406)
    peer.call("channel.open")
    peer.call("queue.unbind", queue="q", exchange="e", routing_key="k")
    peer.call("exchange.delete", exchange="e", if_unused=True)
    peer.send("exchange.declare", exchange="e", passive=True)
    peer.expect_closed(404)


def test_no_wait_answers_nothing(peer):
    peer.send("exchange.declare", exchange="e", type="direct", no_wait=True)
    peer.send("exchange.declare", exchange="d", type="direct", no_wait=True)
    peer.send("queue.declare", queue="q", no_wait=True)
    peer.send("queue.bind", queue="q", exchange="e", no_wait=True)
    peer.send("exchange.bind", destination="e", source="d", no_wait=True)
    peer.send("exchange.unbind", destination="e", source="d", no_wait=True)
    peer.send("exchange.delete", exchange="d", no_wait=True)
    peer.send("basic.consume", queue="q", consumer_tag="c", no_wait=True)
    peer.send("basic.cancel", consumer_tag="c", no_wait=True)
    peer.send("queue.purge", queue="q", no_wait=True)
    peer.send("confirm.select", nowait=True)
    peer.send("queue.delete", queue="q", no_wait=True)
    peer.expect_nothing()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("queue.bind", {"queue": "none", "exchange": "e"}),
        ("queue.bind", {"queue": "q", "exchange": "none"}),
        ("queue.bind", {"queue": "", "exchange": "e"}),
        ("queue.unbind", {"queue": "none", "exchange": "e"}),
        ("queue.unbind", {"queue": "q", "exchange": "none"}),
        ("queue.unbind", {"queue": "", "exchange": "e"}),
        ("exchange.bind", {"destination": "none", "source": "e"}),
        ("exchange.bind", {"destination": "e", "source": "none"}),
        ("exchange.unbind", {"destination": "none", "source": "e"}),
        ("exchange.unbind", {"destination": "e", "source": "none"}),
        ("basic.publish", {"exchange": "none"}),
    ],
)
def test_what_is_missing_is_404(connect, method, arguments):
    maker, peer = connect(), connect()
    maker.queue("q")
    exchange(maker)
    if method == "basic.publish":
        peer.publish(**arguments)
    else:
        peer.send(method, **arguments)
    peer.expect_closed(404)


@pytest.mark.parametrize("method", ["queue.unbind", "exchange.unbind"])
def test_unbind_without_a_binding_is_a_connection_exception(peer, method):
    peer.queue("q")
    exchange(peer)
    end = {"queue": "q", "exchange": "e"} if method == "queue.unbind" else {"destination": "e", "source": "e"}
    peer.send(method, **end, routing_key="k")
    peer.expect_closed(404, hard=True)


def test_identical_bindings_are_one(peer):
    exchange(peer)
    peer.queue("q")
    bind(peer, key="k", arguments={"a": 1, "b": 2})
    bind(peer, key="k", arguments={"b": 2, "a": 1})
    bind(peer, key="k")
    peer.publish(b"m", "k", exchange="e")
    assert peer.drain() == [b"m"]
    peer.call("queue.unbind", queue="q", exchange="e", routing_key="k", arguments={"a": 1, "b": 2})
    peer.publish(b"m", "k", exchange="e")
    assert peer.drain() == [b"m"]
    peer.call("queue.unbind", queue="q", exchange="e", routing_key="k")
    peer.publish(b"m", "k", exchange="e")
    assert peer.drain() == []


def test_empty_exchange_name_binds_to_the_default_exchange(peer):
    peer.queue("q")
    peer.queue("p")
    bind(peer, "q", "", "alias")
    exchange(peer, "f", "fanout")
    bind(peer, "p", "f")
    link(peer, "f", "", "by-default")
    link(peer, "", "f", "x")
    peer.publish(b"1", "alias")
    peer.publish(b"2", "by-default")
    peer.publish(b"3", "q", exchange="f")
    assert peer.drain("q") == [b"1", b"3"]
    assert peer.drain("p") == [b"2", b"3"]
    peer.call("queue.unbind", queue="q", exchange="", routing_key="alias")
    peer.publish(b"4", "alias")
    assert peer.drain("q") == []


def test_bind_with_empty_names_uses_the_last_queue(peer):
    peer.queue("first")
    peer.queue("last")
    exchange(peer)
    bind(peer, "", "e", "")  # key and queue both empty: the queue's name
    bind(peer, "first", "e", "")  # the queue is named: the empty key
    peer.publish(b"1", "last", exchange="e")
    peer.publish(b"2", "", exchange="e")
    assert (peer.drain("first"), peer.drain("last")) == ([b"2"], [b"1"])


def test_exchange_to_exchange_follows_cycles_once(peer):
    for name in "abc":
        exchange(peer, name, "fanout")
        peer.queue(f"q{name}")
        bind(peer, f"q{name}", name)
    for destination, source in ["ba", "cb", "ac", "aa", "ca"]:
        link(peer, destination, source)
        link(peer, destination, source)
    peer.publish(b"m", exchange="a")
    assert [peer.drain(f"q{name}") for name in "abc"] == [[b"m"]] * 3
    peer.call("exchange.unbind", destination="b", source="a")
    peer.call("exchange.delete", exchange="c")
    peer.publish(b"n", exchange="a")
    assert [peer.drain(f"q{name}") for name in "abc"] == [[b"n"], [], [b""][:0]]


def test_auto_delete_exchange_goes_with_its_last_binding(peer):
    exchange(peer, "gone", "fanout", auto_delete=True)
    exchange(peer, "gone", passive=True)  # it was never bound
    peer.queue("q")
    peer.queue("p")
    bind(peer, "q", "gone")
    bind(peer, "p", "gone")
    peer.call("queue.unbind", queue="q", exchange="gone")
    exchange(peer, "gone", passive=True)
    peer.call("queue.delete", queue="p")
    peer.send("exchange.declare", exchange="gone", passive=True)
    peer.expect_closed(404)


def test_auto_delete_exchanges_go_one_after_the_other(peer):
    names = [f"x{number}" for number in range(3000)]  # far more than Python's stack
    for name in names:
        peer.send("exchange.declare", exchange=name, type="fanout", auto_delete=True, no_wait=True)
    for destination, source in zip(names[1:], names, strict=False):
        peer.send("exchange.bind", destination=destination, source=source, no_wait=True)
    peer.queue("q")
    bind(peer, "q", names[-1])
    peer.publish(b"m", exchange=names[0])
    assert peer.drain() == [b"m"]
    peer.call("queue.delete", queue="q")
    peer.send("exchange.declare", exchange=names[0], passive=True)
    peer.expect_closed(404)


def test_internal_exchange_takes_from_exchanges_only(peer):
    exchange(peer, "inner", "fanout", internal=True)
    exchange(peer, "outer", "fanout")
    peer.queue("q")
    bind(peer, "q", "inner")
    link(peer, "inner", "outer")
    peer.publish(b"m", exchange="outer")
    assert peer.drain() == [b"m"]
    peer.publish(b"n", exchange="inner")
    peer.expect_closed(403)


def test_alternate_exchange_takes_what_finds_no_binding(peer):
    exchange(peer, "last", "fanout")
    exchange(peer, "middle", arguments={"alternate-exchange": "last"})
    exchange(peer, "first", arguments={"alternate-exchange": "middle"})
    peer.queue("q")
    peer.queue("rest")
    bind(peer, "q", "first", "k")
    bind(peer, "rest", "last")
    peer.publish(b"1", "k", exchange="first", mandatory=True)
    peer.publish(b"2", "other", exchange="first", mandatory=True)
    peer.expect_nothing()
    assert (peer.drain("q"), peer.drain("rest")) == ([b"1"], [b"2"])


def test_alternate_exchanges_may_be_missing_or_go_in_circles(peer):
    exchange(peer, "a", arguments={"alternate-exchange": "b"})
    exchange(peer, "b", arguments={"alternate-exchange": "a"})
    exchange(peer, "c", arguments={"alternate-exchange": "nowhere"})
    for name in "abc":
        peer.publish(b"m", exchange=name, mandatory=True)
        peer.expect_content("basic.return", reply_code=312, exchange=name)
    peer.queue("q")


@pytest.mark.parametrize("kind", ["every", 5, True, None])
def test_odd_x_match_is_406(peer, kind):
    peer.queue("q")
    peer.send("queue.bind", queue="q", exchange="amq.headers", arguments={"x-match": kind})
    peer.expect_closed(406)


@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize("value", ["q", 5, [5], {"a": "q"}])
def test_carbon_copies_must_be_arrays_of_strings(peer, name, value):
    peer.publish(properties={"headers": {name: value}})
    peer.expect_closed(406)


def test_carbon_copies_route_and_blind_ones_vanish(peer):
    for name in ("q", "cc", "bcc"):
        peer.queue(name)
    headers = {"CC": ["cc", "q", "cc"], "BCC": ["bcc"], "other": 1}
    peer.publish(b"m", "q", properties={"headers": headers, "type": "t"})
    for name in ("q", "cc", "bcc"):
        peer.send("basic.get", queue=name)
        _, properties, _ = peer.expect_content("basic.get-ok", routing_key="q", message_count=0)
        assert properties == {"headers": {"CC": ["cc", "q", "cc"], "other": 1}, "type": "t"}
