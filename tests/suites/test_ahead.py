"""Tests that run ahead: what their failures say is settled where they fail, and none begins that may not run."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from mqproof.harness.plugin.accusation import KEPT, Comparison, seen
from mqproof.harness.plugin.presence import GONE
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation, Late, Unsupported, Untested
from mqproof.harness.wires.base import Transcript
from mqproof.suites.amqp.ahead import Conversations, ahead, settled
from mqproof.suites.mqtt.ahead import confirmed, in_time


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Target("fake", "mqtt", "127.0.0.1", server.getsockname()[1])


@pytest.fixture
def absent(listening):
    with socket.socket() as taken:  # nobody listens, and nobody else can take the port
        taken.bind(("127.0.0.1", 0))
        yield listening.with_(port=taken.getsockname()[1])


def heard() -> list[Transcript]:
    transcript = Transcript("wire")
    transcript.add("<", b"\xd0\0", "PINGRESP")
    return [transcript]


def test_each_thread_keeps_its_own_comparison(listening):
    meet = threading.Barrier(2, timeout=60)

    def fail(number: int) -> Comparison:
        def compare() -> None:
            with settled(listening, []):
                seen.last = Comparison("==", f"{number}", "wanted")
                meet.wait()
                raise AssertionError

        with pytest.raises(AssertionError) as caught:
            compare()
        kept: Comparison = getattr(caught.value, KEPT)
        return kept

    with ThreadPoolExecutor(2) as pool:
        assert [kept.left for kept in pool.map(fail, [1, 2])] == ["1", "2"]


def test_failure_after_which_nobody_listens_accuses_nobody(absent):
    with pytest.raises(Blocked, match="went away") as caught, settled(absent, heard()):
        raise Deviation("a PUBACK", "the broker closed the connection", None)
    assert str(caught.value) == GONE


def test_failure_on_a_broker_that_is_there_stays_what_it_is(listening):
    with pytest.raises(Deviation), settled(listening, heard()):
        raise Deviation("a PUBACK", "the broker closed the connection", None)


def test_what_is_known_stays_known_whether_or_not_anybody_listens(absent):
    with pytest.raises(Deviation), settled(absent, heard(), is_known=True):
        raise Deviation("a PUBACK", "the broker closed the connection", None)


@pytest.mark.parametrize("error", [Unsupported("no QoS 2"), Untested("not said")])
def test_what_says_nothing_of_the_broker_is_not_asked_again(absent, error):
    with pytest.raises(type(error)), settled(absent, heard()):
        raise error


class Marked(SimpleNamespace):
    """An item of pytest as far as ``begin_all`` looks at it."""

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [mark for mark in self.marks if mark.name == name]

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next(iter(self.iter_markers(name)), None)


SLOW, QUICK, BROKEN = pytest.mark.slow, pytest.mark.normative, {"fake": frozenset({"a statement"})}


@pytest.mark.parametrize(
    ("mark", "faults", "begins"),
    [
        (pytest.mark.needs("retain"), {}, False),
        (pytest.mark.destructive, {}, False),
        (SLOW, {}, True),
        (QUICK, {}, True),
        (SLOW, BROKEN, True),
        (QUICK, BROKEN, False),  # before the faults of a kill table most are left out
    ],
)
def test_only_what_may_run_begins(listening, monkeypatch, mark, faults, begins):
    monkeypatch.setattr("mqproof.suites.amqp.ahead.state_of", lambda config: config)
    state = SimpleNamespace(target=lambda name: listening, targets=[listening], destructive=False, faults=faults)
    begun: list[str] = []

    class Noted(Conversations):
        def _begin(self, item: pytest.Item, target: Target) -> None:
            begun.append(item.nodeid)

    @ahead
    def conversation(wires: Callable[..., object]) -> None:
        """Nothing."""

    of_target = SimpleNamespace(params={"target": "fake"})
    item = Marked(nodeid="it", config=state, function=conversation, marks=[mark.mark], callspec=of_target)
    Noted(lambda *_: None).begin_all(SimpleNamespace(items=[item], config=state), listening)  # type: ignore[arg-type]
    assert begun == ["it"] * begins


def outcomes(*kinds: Exception | None) -> Callable[[], None]:
    """Return what raises one of these after the other."""
    rest = iter(kinds)

    def act() -> None:
        error = next(rest)
        if error is not None:
            raise error

    return act


DIFFERS, BLOCKED, LACKS = Deviation("a", "b", None), Blocked("no SUBACK"), Unsupported("no QoS 2")


@pytest.mark.parametrize(
    ("seen_first", "seen_again", "raised"),
    [
        (None, [], None),
        (DIFFERS, [DIFFERS], Deviation),
        (DIFFERS, [None], Blocked),  # seen once and not again
        (AssertionError(), [AssertionError()], AssertionError),
        (BLOCKED, [None], None),
        (BLOCKED, [BLOCKED, None], None),
        (BLOCKED, [BLOCKED, BLOCKED], Blocked),
        (BLOCKED, [DIFFERS], Deviation),
        (LACKS, [], Unsupported),
    ],
)
def test_what_failed_beside_others_is_held_again(seen_first, seen_again, raised):
    first, again = outcomes(seen_first), outcomes(*seen_again)
    if raised is None:
        confirmed(first, again)
    else:
        with pytest.raises(raised):
            confirmed(first, again)
    assert list(again.__closure__[0].cell_contents) == []  # held as often as said, and not more


LATE = Late("2.64 s where 2 s were the limit")


@pytest.mark.parametrize(
    ("seen_first", "seen_again", "raised"),
    [
        (None, [], None),
        (LATE, [None], None),
        (LATE, [LATE, None], None),
        (LATE, [LATE, LATE], Late),
        (LATE, [DIFFERS], Deviation),
        (DIFFERS, [], Deviation),
        (BLOCKED, [], Blocked),
        (LACKS, [], Unsupported),
    ],
)
def test_what_we_were_late_for_is_held_again_and_nothing_else_that_waits_on_time(seen_first, seen_again, raised):
    first, again = outcomes(seen_first), outcomes(*seen_again)
    if raised is None:
        in_time(first, again)
    else:
        with pytest.raises(raised):
            in_time(first, again)
    assert list(again.__closure__[0].cell_contents) == []
