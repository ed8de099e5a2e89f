"""Sections 3.1.2.4, 3.3.1.3, 4.1 and 4.5, all at once: random conversations of three clients, compared with a model.

They subscribe, publish, retain, disconnect, vanish, come back and take over. A conversation that differs is shortened
as long as it differs in the same way, and told as a test that can be run.
"""

import time
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from mqproof.harness.patience import patience
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.mqtt import MESSAGE
from mqproof.suites.mqtt.session_model import Message, Model
from mqproof.suites.mqtt.topic_model import selects

EXAMPLES = 30
STEPS = 25
SHORTENING = 30.0  # seconds, before patience, for a conversation that differs
AGAIN = 3  # how often it is held again: when a broker notices that a client has vanished is not certain
HURRY = 0.1  # seconds, before patience, for a message that must come while that goes on

ABSENT = ("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
NOT_STORED = ("mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-5.0:MQTT-3.1.2-23")
NOT_RESUMED = ("mqtt-3.1.1:MQTT-3.1.2-4", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-5.0:MQTT-3.1.2-5", "mqtt-5.0:MQTT-3.1.2-23")
NOT_RETAINED = ("mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-5.0:MQTT-3.3.1-9")
UNASKED = ("mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-3")
NOT_REMOVED = ("mqtt-3.1.1:MQTT-3.10.4-2", "mqtt-5.0:MQTT-3.10.4-2")
NOT_DISCARDED = ("mqtt-3.1.1:MQTT-3.1.2-6", "mqtt-5.0:MQTT-3.1.2-4")
WRONG_QOS = ("mqtt-3.1.1:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.8.4-8")
PRESENT = ("mqtt-3.1.1:MQTT-3.2.2-2", "mqtt-5.0:MQTT-3.2.2-3")
NOT_PRESENT = ("mqtt-3.1.1:MQTT-3.2.2-1", "mqtt-3.1.1:MQTT-3.2.2-3", "mqtt-5.0:MQTT-3.2.2-2", "mqtt-5.0:MQTT-3.2.2-3")
LOST = {"live": ABSENT, "resumed": NOT_RESUMED, "stored": NOT_STORED, "retained": NOT_RETAINED}

CLIENTS = ("a", "b", "c")
CLIENT = st.sampled_from(CLIENTS)
TOPIC = st.sampled_from(["x", "y", "x/y"])
PATTERN = st.sampled_from(["x", "y", "x/y", "+", "#", "x/#", "x/+"])
QOS = st.sampled_from([0, 1, 2])


class Conversation:
    """Does every step twice: on the broker and on the model. ``within``: seconds for a message that must come."""

    def __init__(self, wires, within, *, silent):
        self.model = Model()
        self.within = within
        self.steps = []
        self.told = []
        self.wires = {}
        self.gone = {}  # filters of discarded sessions, by clients that have had one
        self._make = wires
        self._silent = silent
        self._root = wires.names("model")
        self._ids = {client: wires.names.client_id() for client in CLIENTS}
        self._published = 0

    def do(self, step, *arguments):
        """Carry out a step by its name. Raises Deviation where broker and model differ."""
        self.steps.append((step, arguments))
        getattr(self, f"_{step}")(*arguments)

    def _connect(self, client, keep):
        old, session = self.wires.pop(client, None), self.model.sessions.get(client)
        if session is not None and session.connected:
            self.model.end(client)
        if session is not None and not (keep and session.kept):
            self.gone.setdefault(client, set()).update(session.filters)
        present = self.model.connect(client, keep)
        self.wires[client] = self._make.raw(silent=self._silent).connect(self._ids[client], keep=keep)
        self.told.append(f'{client} = wires(ids["{client}"], keep={keep})')
        got = self.wires[client].connack.session_present
        if got is not present:
            check = f"assert {client}.connack.session_present is {present}"
            self._accuse(f"session present {present}", f"{got}", PRESENT if present else NOT_PRESENT, check)
        if old is not None:
            old.close()
        self._receive(client)

    def _end(self, client, how):
        wire = self.wires.pop(client)
        wire.ping()  # the broker has read our acknowledgements
        getattr(wire, how)()
        if not self.model.sessions[client].kept:
            self.gone.setdefault(client, set()).update(self.model.sessions[client].filters)
        self.model.end(client)
        self.told += [f"{client}.ping()", f"{client}.{how}()"]

    def _subscribe(self, client, pattern, qos):
        self.model.subscribe(client, pattern, qos)
        self.told.append(f'{client}.subscribe(f"{{topic}}/{pattern}", qos={qos})')
        self.wires[client].subscribe(f"{self._root}/{pattern}", qos=qos)
        self._receive(client)

    def _unsubscribe(self, client, pattern):
        self.wires[client].unsubscribe(f"{self._root}/{pattern}")
        self.told.append(f'{client}.unsubscribe(f"{{topic}}/{pattern}")')
        self.model.unsubscribe(client, pattern)

    def _publish(self, client, topic, qos, retain, is_empty):
        self._published += 1
        payload = b"" if is_empty else f"m{self._published}".encode()
        self.told.append(f'{client}.deliver(f"{{topic}}/{topic}", {payload!r}, qos={qos}, retain={retain})')
        self.wires[client].deliver(f"{self._root}/{topic}", payload, qos=qos, retain=retain)
        self.model.publish(Message(topic, payload, qos), retain)
        for receiver in self.wires:
            self._receive(receiver)

    def finish(self):
        """Look for messages that nobody should have got, behind a fence on a topic of its own."""
        fence = self._make.names("fence")
        for client, wire in self.wires.items():
            wire.subscribe(fence, qos=1)
            wire.deliver(fence, b"fence", qos=1)
            for packet in wire.messages(lambda so_far: any(packet.topic == fence for packet in so_far))[0]:
                if packet.topic != fence:
                    self._judge(client, packet)

    def leave(self):
        """Close what is open."""
        for wire in self.wires.values():
            wire.leave()

    def _receive(self, client):
        """Receive what must come, and judge all that comes."""
        session = self.model.sessions[client]
        wanted = {entry.payload: entry for entry in session.expected if entry.must}
        if not wanted:
            return
        got, ended = self.wires[client].messages(
            lambda so_far: wanted.keys() <= {packet.payload for packet in so_far}, self.within
        )
        for packet in got:
            self._judge(client, packet)
        for payload in wanted.keys() - {packet.payload for packet in got}:
            check = f"assert {payload!r} in [p.payload for p in {client}.must_get({len(wanted)})]"
            self._accuse(f"{payload!r} for {client}", f"{ended}", LOST[wanted[payload].why], check)
        self.told.append(f"{client}.must_get({len(wanted)})")

    def _judge(self, client, packet):
        session = self.model.sessions[client]
        entry = next((entry for entry in session.expected if entry.payload == packet.payload), None)
        surplus = f"assert {packet.payload!r} not in [p.payload for p in {client}.settle(wires())]"
        if entry is None:
            if not self.model.is_excused(client, packet.payload, packet.retain):
                broken = self._why_unasked(client, packet.topic.removeprefix(f"{self._root}/"))
                self._accuse(f"no {packet.payload!r} for {client}", "it came", broken, surplus)
            return
        session.expected.remove(entry)
        session.seen.add(packet.payload)
        if entry.qos not in (None, packet.qos) and client not in self.gone:
            check = f"assert {{p.qos for p in {client}.must_get(1)}} == {{{entry.qos}}}"
            self._accuse(f"{packet.payload!r} at QoS {entry.qos}", f"QoS {packet.qos}", WRONG_QOS, check)

    def _why_unasked(self, client, topic):
        """Return the statements that a message breaks which no subscription of the client selects."""
        if any(selects(pattern, topic) for pattern in self.model.sessions[client].removed):
            return NOT_REMOVED
        return NOT_DISCARDED if any(selects(pattern, topic) for pattern in self.gone.get(client, ())) else UNASKED

    def _accuse(self, expected, actual, broken, check):
        ids = 'ids = {client: names.client_id() for client in "abc"}'
        story = ["def test_found_by_the_model(wires, names):", 'topic = names("model")', ids, *self.told, check]
        raise Deviation(expected, f"{actual}, by this test:\n" + "\n    ".join(story), broken)


class Sessions(RuleBasedStateMachine):
    """Chooses the steps. ``search`` keeps the steps of the last conversation that differed."""

    def __init__(self, wires, search):
        super().__init__()
        self.search = search
        self.talk = Conversation(wires, MESSAGE, silent=True)
        self.differs = False

    def _do(self, step, *arguments):
        self._try(self.talk.do, step, *arguments)

    def _try(self, act, *arguments):
        try:
            act(*arguments)
        except Deviation:
            self.differs = True
            self.search[:] = self.talk.steps
            raise

    def _is_connected(self):
        return bool(self.talk.wires)

    def _some(self, data):
        return data.draw(st.sampled_from(sorted(self.talk.wires)))

    def _qos(self, qos):
        """Return this QoS, or the highest that the server knows."""
        offered = next(iter(self.talk.wires.values())).target.capabilities
        return min(qos, max(level for level in (0, 1, 2) if not level or f"qos-{level}" in offered))

    @initialize(patterns=st.lists(PATTERN, min_size=2, max_size=2), qos=QOS)
    def begin(self, patterns, qos):
        """Begin with three clients, two of them with a stored session and a subscription."""
        self._do("connect", "a", False)
        for client, pattern in zip("bc", patterns, strict=True):
            self._do("connect", client, True)
            self._do("subscribe", client, pattern, self._qos(qos))

    @rule(data=st.data(), keep=st.sampled_from([True, True, True, False]))
    def come(self, data, keep):
        """Connect a client that is absent, or have a connection taken over where all are there."""
        absent = sorted(set(CLIENTS) - set(self.talk.wires))
        client = data.draw(st.sampled_from(absent or CLIENTS))
        session = self.talk.model.sessions.get(client)
        if session is not None and session.connected and keep and not session.kept:
            return  # whether a session that ends with its connection can be taken over is not said
        self._do("connect", client, keep)

    @precondition(_is_connected)
    @rule(data=st.data(), how=st.sampled_from(["disconnect", "cut"]))
    def go(self, data, how):
        """End a connection."""
        self._do("end", self._some(data), how)

    @precondition(_is_connected)
    @rule(data=st.data(), pattern=PATTERN, qos=QOS)
    def subscribe(self, data, pattern, qos):
        """Subscribe, or replace a subscription."""
        self._do("subscribe", self._some(data), pattern, self._qos(qos))

    @precondition(_is_connected)
    @rule(data=st.data())
    def unsubscribe(self, data):
        """Remove a subscription."""
        client = self._some(data)
        filters = sorted(self.talk.model.sessions[client].filters)
        if filters:
            self._do("unsubscribe", client, data.draw(st.sampled_from(filters)))

    @precondition(_is_connected)
    @rule(data=st.data(), topic=TOPIC, qos=QOS, retain=st.booleans(), is_empty=st.integers(0, 5))
    def publish(self, data, topic, qos, retain, is_empty):
        """Publish, retain, or clear what is retained."""
        self._do("publish", self._some(data), topic, self._qos(qos), retain, retain and not is_empty)

    @precondition(_is_connected)
    @rule(data=st.data(), topic=TOPIC)
    def publish_again(self, data, topic):
        """Publish at the highest QoS, for that is stored."""
        self._do("publish", self._some(data), topic, self._qos(2), False, False)

    def teardown(self):
        """Look for what nobody should have got, and close what is open."""
        try:
            if not self.differs:
                self._try(self.talk.finish)
        finally:
            self.talk.leave()


@pytest.mark.normative(*dict.fromkeys((
    *ABSENT, *NOT_RESUMED, *NOT_STORED, *NOT_RETAINED, *UNASKED, *NOT_REMOVED, *NOT_DISCARDED, *WRONG_QOS, *PRESENT,
    *NOT_PRESENT,
)))  # fmt: skip
@pytest.mark.needs("retain")
def test_random_conversations_go_as_the_text_says(wires):
    """The examples are the same in every run. What differs is held again, with full patience, before it accuses."""
    rules = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, derandomize=True, database=None, deadline=None,
        print_blob=False, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    search: list[Any] = []
    try:
        run_state_machine_as_test(partial(Sessions, wires, search), settings=rules)  # type: ignore[arg-type]
    except (Deviation, Flaky):
        found = next(filter(None, (differing(wires, search, MESSAGE) for _ in range(AGAIN))), None)
        if found is not None:
            steps = shortened(wires, search, found.statements)
            raise differing(wires, steps, MESSAGE, silent=False) or found from None
        raise Blocked("a conversation differed from the model, and did not when it was held again") from None


def differing(wires, steps, within, *, silent=True):
    """Hold a conversation; return the Deviation that it met, or None. Steps of clients that are absent are left out."""
    talk = Conversation(wires, within, silent=silent)
    try:
        for step, arguments in steps:
            if step == "connect" or arguments[0] in talk.wires:
                talk.do(step, *arguments)
        talk.finish()
    except Deviation as deviation:
        return deviation
    finally:
        talk.leave()
    return None


def shortened(wires, steps, broken):
    """Return the steps without those that the difference does not need, as far as time allows."""
    until = time.monotonic() + patience.seconds(SHORTENING)
    polite = [(step, (*given[:-1], "disconnect") if step == "end" else given) for step, given in steps]
    if differing(wires, polite, HURRY) is not None:
        steps = polite
    size = len(steps) // 2
    while size and time.monotonic() < until:
        before = len(steps)
        for start in range(len(steps) - size, -1, -size):
            fewer = steps[:start] + steps[start + size :]
            found = differing(wires, fewer, HURRY)
            if found is not None and found.statements == broken:
                steps = fewer
            if time.monotonic() > until:
                break
        size = size // 2 if len(steps) == before or size > 1 else size
    return steps
