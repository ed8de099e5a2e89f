"""Extensions of AMQP 0-9-1 to routing: alternate exchanges, CC and BCC, x-match in full, empty words in topics."""

import pytest

EXT = "amqp-0-9-1:"


def with_alternate(wire, alternate, type_="direct"):
    return wire.exchange(type_, arguments={"alternate-exchange": alternate})


@pytest.mark.needs("alternate_exchange")
@pytest.mark.normative(f"{EXT}alternate-exchange/01")
@pytest.mark.parametrize("type_", ["direct", "topic", "headers"])
def test_unroutable_message_goes_to_the_alternate_exchange(wire, type_):
    alternate = wire.exchange("fanout")
    exchange = with_alternate(wire, alternate, type_)
    spare, queue = wire.queue(exchange=alternate), wire.queue()
    wire.bind(queue, exchange, "k", {"x-match": "all", "h": 1})
    routed = wire.publish(exchange, "k", headers={"h": 1})
    lost = wire.publish(exchange, "other", headers={"h": 2})
    assert [wire.drain(queue), wire.drain(spare)] == [[routed], [lost]]


@pytest.mark.needs("alternate_exchange")
@pytest.mark.normative(f"{EXT}alternate-exchange/02")
def test_chain_of_alternates_is_followed_until_a_queue_matches(wire):
    last = wire.exchange("fanout")
    middle = with_alternate(wire, last)
    first = with_alternate(wire, middle)
    queue = wire.queue(exchange=last)
    body = wire.publish(first, "k")
    assert wire.drain(queue) == [body]


@pytest.mark.needs("alternate_exchange")
@pytest.mark.normative(f"{EXT}alternate-exchange/02")
def test_cycle_of_alternates_comes_to_an_end(wire):
    names = [wire.things.exchange() for _ in range(2)]
    for name, other in (names, names[::-1]):
        wire.exchange("direct", name=name, arguments={"alternate-exchange": other})
    wire.publish(names[0], "k")
    queue = wire.queue("k", exchange=names[1])
    body = wire.publish(names[0], "k")
    assert wire.drain(queue) == [body]


@pytest.mark.needs("alternate_exchange")
@pytest.mark.normative(f"{EXT}alternate-exchange/03")
def test_mandatory_message_that_an_alternate_routes_is_not_returned(wire):
    alternate = wire.exchange("fanout")
    exchange = with_alternate(wire, alternate)
    queue = wire.queue(exchange=alternate)
    body = wire.send_content(exchange, "k", mandatory=True)
    wire.fence()
    assert (wire.arrived("basic.return"), wire.drain(queue)) == ([], [body])


@pytest.mark.needs("alternate_exchange")
@pytest.mark.normative(f"{EXT}alternate-exchange/04")
def test_missing_alternate_exchange_is_no_error(wire):
    exchange = with_alternate(wire, wire.things.absent())
    wire.send_content(exchange, "k")
    wire.must_accept()


@pytest.mark.needs("sender_selected_cc")
@pytest.mark.normative(f"{EXT}sender-selected-cc/01")
def test_each_key_in_header_cc_is_routed(wire):
    exchange = wire.exchange("direct")
    queues = [wire.queue(key, exchange=exchange) for key in ("to", "cc1", "cc2", "other")]
    body = wire.publish(exchange, "to", headers={"CC": ["cc1", "cc2"]})
    assert [wire.drain(queue) for queue in queues] == [[body], [body], [body], []]


@pytest.mark.needs("sender_selected_cc")
@pytest.mark.normative(f"{EXT}sender-selected-cc/01")
def test_header_cc_reaches_the_consumer(wire):
    queue = wire.queue()
    wire.publish("", queue, headers={"CC": ["elsewhere"]})
    (message,) = wire.drained(queue)
    assert message.headers == {"CC": ["elsewhere"]}


@pytest.mark.needs("sender_selected_bcc")
@pytest.mark.normative(f"{EXT}sender-selected-bcc/01")
def test_header_bcc_is_routed_and_then_removed(wire):
    exchange = wire.exchange("direct")
    queues = [wire.queue(key, exchange=exchange) for key in ("to", "bcc")]
    wire.publish(exchange, "to", headers={"BCC": ["bcc"], "kept": 1})
    assert [[message.headers for message in wire.drained(queue)] for queue in queues] == [[{"kept": 1}]] * 2


@pytest.mark.needs("sender_selected_cc")
@pytest.mark.normative(f"{EXT}sender-selected-cc/02")
@pytest.mark.parametrize("value", ["a string", 7], ids=str)
def test_header_cc_that_is_no_array_is_refused_with_406(wire, value):
    wire.send_content("amq.direct", "k", properties={"headers": {"CC": value}})
    wire.must_refuse(406)


@pytest.mark.needs("sender_selected_cc")
@pytest.mark.normative(f"{EXT}sender-selected-cc/03")
def test_key_that_is_named_twice_gives_one_copy(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("to", exchange=exchange)
    body = wire.publish(exchange, "to", headers={"CC": ["to", "to"]})
    assert wire.drain(queue) == [body]


def routed(wire, arguments, headers):
    exchange = wire.exchange("headers")
    queue = wire.queue(exchange=exchange, bind_arguments=arguments)
    wire.publish(exchange, headers=headers)
    return bool(wire.drain(queue))


@pytest.mark.needs("headers_x_match")
@pytest.mark.normative(f"{EXT}headers-x-match/01")
@pytest.mark.parametrize(
    ("match", "headers", "reaches"),
    [
        ("all", {"h": 1}, True),
        ("any", {"x-h": 2}, False),
        ("all-with-x", {"h": 1}, False),
        ("all-with-x", {"h": 1, "x-h": 2}, True),
        ("any-with-x", {"x-h": 2}, True),
        ("any-with-x", {"x-h": 3}, False),
    ],
)
def test_x_match_says_whether_headers_with_x_count(wire, match, headers, reaches):
    assert routed(wire, {"x-match": match, "h": 1, "x-h": 2}, headers) == reaches


@pytest.mark.needs("headers_x_match")
@pytest.mark.normative(f"{EXT}headers-x-match/01")
@pytest.mark.parametrize("value", ["some", "", 1], ids=str)
def test_other_value_of_x_match_is_refused_with_406(wire, value):
    exchange, queue = wire.exchange("headers"), wire.queue()
    wire.send("queue.bind", queue=queue, exchange=exchange, arguments={"x-match": value})
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("headers_x_match")
@pytest.mark.normative(f"{EXT}headers-x-match/02")
@pytest.mark.parametrize(("headers", "reaches"), [({"h": "any"}, True), ({"h": None}, True), ({"i": 1}, False)])
def test_void_value_in_a_binding_asks_for_the_header_only(wire, headers, reaches):
    assert routed(wire, {"x-match": "all", "h": None}, headers) == reaches


@pytest.mark.needs("topic_zero_words")
@pytest.mark.normative(f"{EXT}topic-zero-words/01")
@pytest.mark.parametrize(
    ("pattern", "key", "reaches"),
    [
        ("#", "", True),
        ("a.#", "a", True),
        ("#.a", "a", True),
        ("a.*", "a.", True),
        ("*.a", ".a", True),
        ("a.*.b", "a..b", True),
        ("*", "a.b", False),
    ],
)
def test_hash_matches_no_word_and_star_an_empty_one(wire, pattern, key, reaches):
    exchange = wire.exchange("topic")
    queue = wire.queue(pattern, exchange=exchange)
    body = wire.publish(exchange, key)
    assert wire.drain(queue) == ([body] if reaches else [])
