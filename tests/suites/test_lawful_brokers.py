"""Reactions that the text of AMQP 0-9-1 permits, and that no broker of ours shows, are no deviations.

And the fault that docs/faults.md shows as an example is one: it can be written as it stands there, and a test notices.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import Method, method
from mqproof.harness.patience import patience
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.reference.amqp.server import start_in_thread
from mqproof.harness.saboteur.core import FAULTS, AmqpConn, AmqpFault, passage_for
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation, Untested
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.suites.amqp import test_3_1_3_4_headers_exchange as headers_exchange
from mqproof.suites.amqp import test_4_2_3_frames as frames
from mqproof.suites.amqp import test_confirms as confirms
from mqproof.suites.amqp import test_exchange_declare as exchange_declare
from mqproof.suites.amqp import test_queue_bind as queue_bind
from mqproof.suites.amqp import test_queue_declare as queue_declare
from mqproof.suites.amqp import test_queue_purge_delete as queue_purge
from mqproof.suites.amqp import test_sanity as sanity

Answer = Callable[[Method], Method | None]


class Answers(AmqpFault):
    """Answers some methods of the client itself."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.is_reopening = False

    def from_client(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Keep a method from the broker where there is an answer to it."""
        if not isinstance(frame, Method):
            return None
        if frame.name == "channel.close-ok":  # the broker knows of no close: it goes on with the channel that it has
            self.is_reopening = True
            return []
        if frame.name == "channel.open" and self.is_reopening:
            self.is_reopening = False
            reply: Method | None = method("channel.open-ok", frame.channel)
        else:
            reply = self.answer(frame)
        if reply is None:
            return None
        conn.to_client(reply)
        return []


class Counts(AmqpFault):
    """Says that a purge took one message more than it did."""

    def from_broker(self, frame: Any, conn: AmqpConn) -> list[Any] | None:
        """Change the answer to a purge."""
        if not isinstance(frame, Method) or frame.name != "queue.purge-ok":
            return None
        return [method("queue.purge-ok", frame.channel, message_count=frame.arguments["message_count"] + 1)]


@contextmanager
def wires_to(fault: AmqpFault) -> Iterator[Callable[..., AmqpWire]]:
    """Give what makes connections to a reference broker in front of which ``fault`` stands."""
    handle = start_in_thread()
    try:
        behind = Target("t", "amqp", "127.0.0.1", handle.port, user="guest", password="guest")
        numbers = iter(range(sys.maxsize))
        things = Things(lambda kind: f"{kind}{next(numbers)}")
        with ProxyLoop() as loop:
            target = identify(loop.proxy(behind, passage_for(fault)).target)
            yield lambda **limits: AmqpWire(target, things).open(**limits)
    finally:
        handle.stop()


def closing(name: str, code: int, wanted: Callable[[Method], bool]) -> Answers:
    """Return what closes the channel or the connection where a method is ``wanted``."""

    def answer(frame: Method) -> Method | None:
        channel = frame.channel if name == "channel.close" else 0
        return method(name, channel, reply_code=code, reply_text="no") if wanted(frame) else None

    return Answers(answer)


def unbinds_the_default(frame: Method) -> bool:
    return frame.name == "queue.unbind" and not frame.arguments["exchange"]


def declares(exchange: str) -> Callable[[Method], bool]:
    return lambda frame: frame.name == "exchange.declare" and frame.arguments["exchange"] == exchange


def has_arguments(frame: Method) -> bool:
    return frame.name in ("queue.declare", "exchange.declare") and bool(frame.arguments["arguments"])


@pytest.mark.parametrize(("name", "code"), [("channel.close", 403), ("connection.close", 530)])
def test_default_exchange_may_be_refused_to_unbind(name: str, code: int) -> None:
    """Rule exchange/default-access leaves bind and publish only."""
    with wires_to(closing(name, code, unbinds_the_default)) as wires:
        queue_bind.test_empty_exchange_name_in_unbind_means_the_default_exchange(wires())


def test_empty_name_in_unbind_is_no_missing_exchange() -> None:
    with wires_to(closing("channel.close", 404, unbinds_the_default)) as wires, pytest.raises(Deviation):
        queue_bind.test_empty_exchange_name_in_unbind_means_the_default_exchange(wires())


def test_headers_exchange_may_be_there_under_the_name_of_the_prose_alone() -> None:
    with wires_to(closing("channel.close", 404, declares("amq.headers"))) as wires:
        exchange_declare.test_each_standard_type_that_is_offered_has_its_amq_instance(wires(), "headers")
        with pytest.raises(Untested):
            headers_exchange.test_standard_headers_exchange_is_there_and_routes_by_headers(wires(), "amq.headers")


@pytest.mark.parametrize("missing", ["direct", "fanout", "topic"])
def test_other_types_have_one_name_only(missing: str) -> None:
    with wires_to(closing("channel.close", 404, declares(f"amq.{missing}"))) as wires, pytest.raises(Deviation):
        exchange_declare.test_each_standard_type_that_is_offered_has_its_amq_instance(wires(), missing)


def test_headers_exchange_without_either_name_is_a_deviation() -> None:
    def wanted(frame: Method) -> bool:
        return frame.name == "exchange.declare" and frame.arguments["exchange"] in ("amq.headers", "amq.match")

    with wires_to(closing("channel.close", 404, wanted)) as wires, pytest.raises(Deviation):
        exchange_declare.test_each_standard_type_that_is_offered_has_its_amq_instance(wires(), "headers")


def test_arguments_that_a_broker_does_not_know_are_its_own_affair() -> None:
    """Field arguments: their syntax and semantics depend on the server's implementation."""
    limit, alternate = {"x-max-length": 5}, {"alternate-exchange": "amq.fanout"}
    equal: Any = {"arguments": {"x-mqproof": "a"}}
    with wires_to(closing("connection.close", 542, has_arguments)) as wires:
        with pytest.raises(Untested):
            queue_declare.test_unequal_redeclaration_of_a_queue_is_a_channel_error(wires(), wires, {"arguments": limit})
        with pytest.raises(Untested):
            exchange_declare.test_unequal_redeclaration_of_an_exchange_is_a_channel_error(
                wires(), wires, {"arguments": alternate}
            )
        with pytest.raises(Untested):
            queue_declare.test_equal_redeclaration_of_a_queue_is_accepted_and_keeps_its_messages(
                wires(), wires, {"exclusive": True} | equal
            )
        with pytest.raises(Untested):
            exchange_declare.test_equal_redeclaration_of_an_exchange_is_accepted(wires(), wires, equal)


def test_count_of_a_purge_does_not_tell_what_became_of_unacknowledged_messages() -> None:
    with wires_to(Counts()) as wires:
        queue_purge.test_purge_leaves_unacknowledged_messages_alone(wires())


def test_message_that_never_comes_was_in_no_frame_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "factor", 0.1)

    def wanted(frame: Method) -> bool:
        return frame.name == "basic.get"

    with wires_to(closing("channel.close", 404, wanted)) as wires, pytest.raises(Blocked):
        frames.test_broker_keeps_to_the_agreed_frame_size(wires, deliver=False)


def test_example_of_the_page_of_faults_is_noticed_by_its_test_and_by_no_sanity_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {"__name__": "example"})
    spec = FAULTS.pop("my-confirm-twice")
    fault = spec.make()
    assert isinstance(fault, AmqpFault)
    with wires_to(fault) as wires:
        sanity.test_broker_answers_the_close_of_a_connection(wires())
        with pytest.raises(AssertionError):
            confirms.test_batch_is_confirmed_completely_and_once(wires())
