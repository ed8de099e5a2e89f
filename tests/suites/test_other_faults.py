"""A broker that breaks one statement is not accused of another: what a test needs first is no part of what it examines.

Each broker here is the reference broker behind one fault that some broker has.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import ContentHeader, Method, RawFrame, encode, method
from mqproof.dissectors.amqp.tables import FrameType
from mqproof.harness.patience import patience
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault
from mqproof.harness.verdicts import Blocked, Deviation, Untested
from mqproof.suites.amqp import test_basic_consume as consuming
from mqproof.suites.amqp import test_basic_publish as publishing
from mqproof.suites.amqp import test_channels as channels
from mqproof.suites.amqp import test_connection_negotiation as negotiation
from mqproof.suites.amqp import test_exchange_declare as exchange_declare
from mqproof.suites.amqp import test_many as many
from mqproof.suites.amqp import test_queue_purge_delete as queue_delete
from mqproof.suites.amqp import test_tx as tx

from tests.suites.test_lawful_brokers import Answers, closing, declares, wires_to

ENTITY = {"queue.declare": "queue", "exchange.declare": "exchange", "basic.consume": "queue"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)


class WrongCodes(AmqpFault):
    """Says 530 where something is missing, and closes the channel only."""

    def from_broker(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Change the code."""
        if not isinstance(frame, Method) or frame.name != "channel.close":
            return None
        return [method("channel.close", frame.channel, **(frame.arguments | {"reply_code": 530}))]


class NoDefaultExchange(AmqpFault):
    """Routes nothing that is published to the default exchange."""

    def from_client(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Change the routing key."""
        if not isinstance(frame, Method) or frame.name != "basic.publish" or frame.arguments["exchange"]:
            return None
        return [method("basic.publish", frame.channel, **(frame.arguments | {"routing_key": "nowhere"}))]


class NoCounts(AmqpFault):
    """Says that no queue has a consumer."""

    def from_broker(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Change the count."""
        if not isinstance(frame, Method) or frame.name != "queue.declare-ok":
            return None
        return [method("queue.declare-ok", frame.channel, **(frame.arguments | {"consumer_count": 0}))]


class HeadersTooLong(AmqpFault):
    """Sends four octets behind the properties of each message."""

    def from_broker(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Make the content header longer."""
        if not isinstance(frame, ContentHeader):
            return None
        return [RawFrame(FrameType.HEADER, frame.channel, encode(frame)[7:-1] + bytes(4))]


def is_read(frame: Method) -> bool:
    return frame.name == "basic.get"


def test_wrong_code_for_what_is_missing_does_not_say_that_it_is_there() -> None:
    with wires_to(WrongCodes()) as wires:
        queue_delete.test_deleted_queue_is_gone(wires())
        exchange_declare.test_deleted_exchange_is_gone(wires())
        consuming.test_reading_a_missing_queue_closes_the_channel(wires(), "basic.consume")
        channels.test_close_names_the_method_that_failed(wires())
        missing = method("queue.declare", 2, queue="absent", passive=True)
        channels.test_operational_error_closes_its_own_channel_only(wires(), missing)
        with pytest.raises(Blocked, match="neither found nor missing"):
            wires().must_lose("absent")


def test_queue_that_stays_is_accused_whatever_the_code_for_a_missing_one() -> None:
    with wires_to(WrongCodes()) as wires:
        wire = wires()
        with pytest.raises(Deviation):
            wire.must_lose(wire.queue())


@pytest.mark.parametrize(
    "test",
    [
        many.test_multiple_ack_over_a_wide_range_opens_the_whole_window,
        many.test_contents_of_many_channels_may_be_interleaved,
        publishing.test_immediate_message_reaches_a_waiting_consumer,
        publishing.test_large_backlog_of_persistent_messages_is_kept_whole,
        tx.test_published_messages_reach_the_queue_at_commit_and_not_before,
    ],
)
def test_what_is_never_routed_was_not_lost_on_another_way(test: Callable[..., None]) -> None:
    with wires_to(NoDefaultExchange()) as wires, pytest.raises(Blocked):
        test(wires())


@pytest.mark.parametrize(
    "test",
    [
        many.test_each_of_many_bindings_of_a_queue_counts,
        partial(channels.test_one_path_keeps_the_order_of_a_long_burst, size=10),
    ],
)
def test_message_that_cannot_be_read_was_neither_lost_nor_overtaken(test: Callable[..., None]) -> None:
    with wires_to(HeadersTooLong()) as wires, pytest.raises(Blocked, match="cannot be decoded"):
        test(wires())


def test_wrong_count_of_consumers_does_not_say_how_many_there_may_be() -> None:
    with wires_to(NoCounts()) as wires:
        consuming.test_sixteen_consumers_share_a_queue(wires())


def test_missing_exchange_was_not_refused_for_its_name() -> None:
    with wires_to(closing("channel.close", 406, declares("amq.fanout"))) as wires, pytest.raises(Blocked):
        exchange_declare.test_existing_exchange_with_a_reserved_name_may_be_declared_passively(wires())
    with wires_to(closing("channel.close", 403, declares("amq.fanout"))) as wires, pytest.raises(AssertionError):
        exchange_declare.test_existing_exchange_with_a_reserved_name_may_be_declared_passively(wires())


def test_broker_without_basic_get_is_not_accused_of_what_get_would_show() -> None:
    with wires_to(closing("connection.close", 540, is_read)) as wires:
        with pytest.raises(Blocked):
            consuming.test_reading_a_missing_queue_closes_the_channel(wires(), "basic.get")
        with pytest.raises(Blocked):
            consuming.test_get_of_an_empty_queue_is_answered_by_get_empty(wires())


def test_connection_that_is_closed_over_a_locked_queue_says_nothing_of_its_end() -> None:
    """530 on the connection, as long as the broker has not noticed that the owner has gone."""
    looks: Iterator[int] = iter(range(100))

    def is_locked(frame: Method) -> bool:
        return frame.name == "queue.declare" and frame.arguments["passive"] and next(looks) < 2

    with wires_to(closing("connection.close", 530, is_locked)) as wires:
        channels.test_end_of_a_connection_takes_its_exclusive_and_auto_delete_queues(wires, "cut")


class Raw:
    """Makes raw connections to a broker, as the fixture of the suites does."""

    def __init__(self, wires: Callable[..., Any]) -> None:
        self.wires = wires

    def raw(self, **changes: Any) -> Any:
        """Return a connection on which nothing has been said; ``changes``: fields of the target."""
        model = self.wires()
        return type(model)(model.target.with_(**changes), model.things)


def lets_in(nobody: bool) -> Answers:
    """Return what lets in the user with any password, and those that nobody knows only if ``nobody``."""

    def answer(frame: Method) -> Method | None:
        login = bytes(frame.arguments.get("response", b""))
        if not login.endswith(b"mqproof-wrong") or (b"mqproof-nobody" in login and not nobody):
            return None
        return method("connection.tune", 0, channel_max=16, frame_max=8192, heartbeat=0)

    return Answers(answer)


def test_broker_that_knows_no_users_has_no_wrong_password() -> None:
    test = negotiation.test_wrong_password_ends_the_connection_of_any_other_client_without_a_word
    with wires_to(lets_in(nobody=True)) as wires, pytest.raises(Untested):
        test.conversation(Raw(wires))
    with wires_to(lets_in(nobody=False)) as wires, pytest.raises(Deviation):
        test.conversation(Raw(wires))


def test_wrong_code_of_commit_says_nothing_of_rollback() -> None:
    test = tx.test_commit_and_rollback_need_a_transacted_channel
    (cases,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    claimed = {case.values[0]: case.marks[0].args for case in cases.args[1]}
    assert claimed == {"tx.commit": (tx.COMMIT,), "tx.rollback": (tx.ROLLBACK,)}
