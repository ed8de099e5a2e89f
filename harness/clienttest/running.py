"""Runs a client's command in each situation, before the embedded broker, and judges what it said."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.clienttest.amqp_judge import AmqpJudge
from mqproof.harness.clienttest.amqp_statements import UNSEEN as AMQP_UNSEEN
from mqproof.harness.clienttest.conversation import Conversation, Listening
from mqproof.harness.clienttest.mqtt_judge import MqttJudge
from mqproof.harness.clienttest.mqtt_statements import UNSEEN as MQTT_UNSEEN
from mqproof.harness.clienttest.opinions import Opinion
from mqproof.harness.clienttest.situations import PROTOCOLS, Situation
from mqproof.harness.proxy.core import Link, Passage, Proxy, ProxyLoop
from mqproof.harness.targets.target import Target

MOST_CONNECTIONS = 30  # that are judged in one situation: some clients come back for ever
END_SECONDS = 5.0  # for a command that is told to end


class BadCommand(ValueError):
    """A command that cannot be run; one line says why."""


@dataclass(slots=True)
class Trial:
    """What came of one protocol. ``endings``: how the command ended in each situation, by the situation's name."""

    protocol: str
    spec: str
    opinions: list[Opinion] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)


def try_client(
    protocol: str, command: Sequence[str], *, port: int = 0, seconds: float = 30.0, names: Sequence[str] = (),
    output: int | None = None,
) -> Trial:  # fmt: skip
    """Run ``command`` in the situations of a protocol (those named, or all) and judge it.

    ``{host}``, ``{port}`` and ``{url}`` in its words are replaced; MQPROOF_HOST, _PORT, _URL, _PROTOCOL and _SITUATION
    are set. It is ended after ``seconds``. ``output``: the file descriptor where its standard output goes, else ours.
    Raises BadCommand, and OSError when the port is taken.
    """
    spec, situations = PROTOCOLS[protocol]
    trial = Trial(protocol, spec)
    for situation in situations:
        if not names or situation.name in names:
            trial.conversations += _play(trial, situation, command, port, seconds, output)
    trial.opinions = judge(protocol, trial.conversations)
    return trial


def judge(protocol: str, conversations: Sequence[Conversation]) -> list[Opinion]:
    """Return an opinion on each statement of a protocol that binds clients."""
    if protocol == "amqp":
        amqp = AmqpJudge()
        for conversation in conversations:
            amqp.hear(conversation)
        return amqp.opinions.all(AMQP_UNSEEN)
    mqtt = MqttJudge(Version.V5_0 if protocol == "mqtt5" else Version.V3_1_1)
    for conversation in conversations:
        mqtt.hear(conversation)
    return mqtt.opinions.all(MQTT_UNSEEN)


def _play(
    trial: Trial, situation: Situation, command: Sequence[str], port: int, seconds: float, output: int | None
) -> list[Conversation]:
    heard: list[Conversation] = []
    kind = "amqp" if trial.protocol == "amqp" else "mqtt"
    memory: dict[str, Any] = {}

    def listen(link: Link) -> Passage:
        conversation = Conversation(situation=situation.name)
        heard.append(conversation)
        meddle = situation.meddle
        wrapped = None if meddle is None else lambda passage, side, item: meddle(memory, passage, side, item)
        return Listening(link, kind, conversation, wrapped)

    with ExitStack() as resources:
        target = _broker(kind, situation, resources)
        loop = resources.enter_context(ProxyLoop())
        proxy = loop.proxy(target, listen, port=port)
        ending, when = _run(command, _surroundings(trial.protocol, situation, proxy), seconds, output)
        loop.served(proxy, END_SECONDS)  # what it said last may still stand in a socket
        trial.endings[situation.name] = ending
    for conversation in heard:  # what a client does that is killed is not its own doing
        conversation.events = [event for event in conversation.events if event.time <= when]
    return [conversation for conversation in heard if conversation.events][:MOST_CONNECTIONS]


def _broker(kind: str, situation: Situation, resources: ExitStack) -> Target:
    if kind == "amqp":
        from mqproof.harness.reference.amqp import server as amqp
        from mqproof.harness.reference.amqp.broker import Settings

        broker: Any = amqp.start_in_thread(settings=Settings(**situation.limits))
    else:
        from mqproof.harness.reference.mqtt import server as mqtt
        from mqproof.harness.reference.mqtt.limits import Limits

        broker = mqtt.start_in_thread(limits=Limits(**situation.limits))
    resources.callback(broker.stop)
    login = ("guest", "guest") if kind == "amqp" else (None, None)
    return Target("judge", kind, "127.0.0.1", broker.port, *login)


def _surroundings(protocol: str, situation: Situation, proxy: Proxy) -> dict[str, str]:
    target = proxy.target
    return {
        "MQPROOF_HOST": target.host,
        "MQPROOF_PORT": str(target.port),
        "MQPROOF_URL": target.url,
        "MQPROOF_PROTOCOL": protocol,
        "MQPROOF_SITUATION": situation.name,
    }


def _run(command: Sequence[str], more: dict[str, str], seconds: float, output: int | None) -> tuple[str, float]:
    """Run the command; return how it ended, and until when that was its own doing (monotonic seconds)."""
    words = [
        word.replace("{host}", more["MQPROOF_HOST"]).replace("{port}", more["MQPROOF_PORT"]).replace(
            "{url}", more["MQPROOF_URL"]
        )
        for word in command
    ]  # fmt: skip
    try:
        process = subprocess.Popen(
            words, env={**os.environ, **more}, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output
        )
    except OSError as error:
        raise BadCommand(f"{words[0]} cannot be started: {error.strerror}") from None
    try:
        return f"status {process.wait(seconds)}", math.inf
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:g} s", time.monotonic()
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and everything that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        until = time.monotonic() + END_SECONDS
        while time.monotonic() < until and process.poll() is None:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    process.wait()
