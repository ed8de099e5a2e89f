"""A broker that ends closes its connections first and its port a while later: what a test saw then accuses nobody."""

import socket
import threading

import pytest
from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.plugin.presence import seen_with
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Verdict
from mqproof.harness.wires.base import Transcript

ENDED = "expected queue.bind-ok; got the broker reset the connection"


@pytest.mark.parametrize(
    ("connections", "reason", "verdict"),
    [
        (0, ENDED, Verdict.INCONCLUSIVE),
        (4, ENDED, Verdict.INCONCLUSIVE),
        (4, "expected queue.bind-ok; got channel.close 404", Verdict.DEVIATES),
        (100, ENDED, Verdict.DEVIATES),
    ],
)
def test_a_port_that_closes_soon_belongs_to_a_broker_that_went_away(connections, reason, verdict):
    heard = Transcript("wire 1")
    heard.add("<", b"x", "something")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for _ in range(connections):
                listener.accept()[0].close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    if not connections:
        thread.join()
    port = listener.getsockname()[1] if connections else 7
    outcome = seen_with(Outcome(Verdict.DEVIATES, reason), Target("t", "amqp", "127.0.0.1", port), [heard])
    assert outcome.verdict is verdict
