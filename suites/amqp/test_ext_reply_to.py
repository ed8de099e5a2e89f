"""Extensions of AMQP 0-9-1: direct reply-to, updated secrets, blocked connections."""

import pytest

REPLY_TO = "amq.rabbitmq.reply-to"
DIRECT = "amqp-0-9-1:direct-reply-to/"
SECRET = "amqp-0-9-1:update-secret/"


def ask(requester, server):
    """Send a request with direct reply-to; return the reply-to name that the server sees."""
    queue = server.queue()
    requester.consume(REPLY_TO, no_ack=True)
    requester.send_content("", queue, properties={"reply_to": REPLY_TO})
    server.consume(queue, no_ack=True)
    return server.must_receive("basic.deliver").properties["reply_to"]


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}01")
def test_reply_arrives_on_the_channel_of_the_request_without_a_queue(wires):
    requester, server = wires(), wires()
    name = ask(requester, server)
    assert name.startswith(f"{REPLY_TO}.")
    body = server.publish("", name)
    reply = requester.must_receive("basic.deliver", channel=1)
    assert reply.body == body


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}01")
def test_mandatory_reply_reaches_the_requester(wires):
    """Older servers return it as well, because the name is no queue (documented); newer ones do not."""
    requester, server = wires(), wires()
    name = ask(requester, server)
    body = server.send_content("", name, mandatory=True)
    assert requester.must_receive("basic.deliver").body == body


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}02")
def test_consuming_replies_with_acks_is_refused_with_406(wire):
    wire.send("basic.consume", queue=REPLY_TO, no_ack=False)
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}02")
def test_second_consumer_of_replies_on_a_channel_is_refused_with_406(wire):
    wire.consume(REPLY_TO, no_ack=True)
    wire.send("basic.consume", queue=REPLY_TO, no_ack=True)
    wire.must_refuse(406, fenced=False)


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}03")
def test_request_before_consuming_replies_is_refused_with_406(wire):
    wire.send_content("", wire.queue(), properties={"reply_to": REPLY_TO})
    wire.must_refuse(406)


@pytest.mark.needs("direct_reply_to")
@pytest.mark.normative(f"{DIRECT}04")
def test_passive_declare_tells_whether_the_requester_is_there(wires):
    requester, server = wires(), wires()
    name = ask(requester, server)
    server.send("queue.declare", queue=name, passive=True)
    server.must_receive("queue.declare-ok", queue=name)
    requester.close_channel()
    server.send("queue.declare", queue=name, passive=True)
    server.must_refuse(404, fenced=False)


@pytest.mark.needs("update_secret")
@pytest.mark.normative(f"{SECRET}01", f"{SECRET}02")
def test_new_secret_is_either_taken_or_refused_with_530(wire):
    """Which secrets are valid is the authentication mechanism's business; a password is none that can be renewed."""
    secret = (wire.target.password or "").encode()
    wire.send("connection.update-secret", channel=0, new_secret=secret, reason="test")
    answer = wire.must_receive("connection.update-secret-ok", "connection.close", channel=0)
    if answer.name == "connection.close":
        assert answer.arguments["reply_code"] == 530
    else:
        wire.must_accept()
