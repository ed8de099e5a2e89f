"""Holds an AMQP 0-9-1 client's conversations against the rules that bind clients.

What a client asks for in vain (a queue that is not there, a tag in use) shows in the broker's close, which names the
method: the embedded broker closes for nothing else. What is on the wire itself is judged directly.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Heartbeat, Method, ProtocolHeader
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.errors import Malformed
from mqproof.harness.clienttest.amqp_statements import GOOD, MISSING, QUEUE_KNOWN, REFUSED
from mqproof.harness.clienttest.conversation import Conversation, Ended, Event
from mqproof.harness.clienttest.opinions import Opinions

NAME = re.compile(r"[A-Za-z0-9\-_.:]*\Z")  # domains exchange-name and queue-name
PROPERTIES = ("product", "version", "platform", "copyright", "information")
SETTLING = ("basic.ack", "basic.nack", "basic.reject")
TOLERANCE = 1.0  # seconds
PREDECLARED = {
    "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers",
    "amq.match": "headers",
}  # fmt: skip
NUMBERS = {(spec.class_id, spec.method_id): name for name, spec in METHODS.items()}


@dataclass(slots=True)
class Channel:
    """What one channel has done."""

    transacted: bool = False
    declared: bool = False  # a queue, so that an empty name means it
    tags: set[str] = field(default_factory=set)  # consumer tags
    unacked: set[int] = field(default_factory=set)
    highest: int = 0
    asked: list[Method] = field(default_factory=list)  # synchronous methods without answer yet
    last: dict[str, Method] = field(default_factory=dict)  # by name, for what a close names
    closing: bool = False  # the client has sent close
    told: bool = False  # the broker has sent close
    no_ack: set[str] = field(default_factory=set)


@dataclass(slots=True)
class State:
    """One connection."""

    channels: dict[int, Channel] = field(default_factory=dict)
    tune: Method | None = None
    tune_ok: Method | None = None
    frame_max: int = 0
    heartbeat: int = 0
    last: float = 0.0
    foreign: bool = False  # the broker offered a version that nobody speaks
    closing: bool = False
    told: bool = False  # the broker has sent connection.close
    answered: bool = False  # the client has sent connection.close-ok


class AmqpJudge:
    """Judges conversations one after the other."""

    def __init__(self) -> None:
        self.opinions = Opinions("amqp-0-9-1")
        self._s = State()
        self._types: dict[str, str] = {}  # of exchanges that clients declared

    def hear(self, conversation: Conversation) -> None:
        """Judge one connection."""
        self.opinions.connection += 1
        self.opinions.situation = conversation.situation
        self._s = State()
        for event in conversation.events:
            if event.side == "client":
                self._from_client(event)
            else:
                self._from_broker(event)

    # -- what the client says

    def _from_client(self, event: Event) -> None:
        item, state = event.item, self._s
        if isinstance(item, Ended):
            self._client_ended(event.time)
            return
        self._judge_silence(event.time)
        state.last = event.time
        if isinstance(item, Malformed):
            self.opinions.broke([item.rule.partition(":")[2]], "a well-formed frame", item.detail)
        elif isinstance(item, ProtocolHeader):
            pass
        elif state.answered:
            self.opinions.broke(["2.3.7/close-handshake"], "nothing after connection.close-ok", _name(item))
        elif state.foreign:
            ids = ["connection.start/client-support"]
            self.opinions.broke(ids, "the socket closed: the version is unknown", _name(item))
            state.foreign = False
        else:
            self._frame(item, event)

    def _frame(self, item: Any, event: Event) -> None:
        if self._s.frame_max:
            size = len(event.octets)
            legal = size <= self._s.frame_max
            self.opinions.judge(legal, ["4.2.3/oversized"], f"frames up to {self._s.frame_max}", f"{size} octets")
        if isinstance(item, Heartbeat):
            legal = item.channel == 0 and not item.payload
            self.opinions.judge(legal, ["4.2.7/heartbeat-channel-zero"], "channel 0, no payload", repr(item))
        elif isinstance(item, (ContentHeader, Body)):
            self.opinions.judge(item.channel, ["4.2.6.1/channel-not-zero"], "a channel above 0", _name(item))
        elif isinstance(item, Method):
            self._method(item)

    def _method(self, method: Method) -> None:
        is_connection = method.name.startswith("connection.")
        legal = (method.channel == 0) == is_connection
        self.opinions.judge(legal, ["4.2.3/channel-zero"], "connection methods on channel 0, no others", _name(method))
        handler = getattr(self, "_" + method.name.replace(".", "_").replace("-", "_"), None)
        if handler is not None:
            handler(method)
        if is_connection:
            return
        channel = self._channel(method.channel)
        channel.last[method.name] = method
        if METHODS[method.name].synchronous and not method.arguments.get("no_wait"):
            channel.asked.append(method)
        if method.name in SETTLING:
            self._settle(method, channel)
        if method.name == "basic.publish":  # nothing answers it but a refusal
            self.opinions.kept(*GOOD[method.name])

    def _connection_start_ok(self, method: Method) -> None:
        there = method.arguments["client_properties"]
        missing = [name for name in PROPERTIES if name not in there]
        ids = ["connection.start-ok.client-properties/required-fields"]
        self.opinions.judge(not missing, ids, ", ".join(PROPERTIES), f"without {', '.join(missing)}")

    def _connection_tune_ok(self, method: Method) -> None:
        state = self._s
        state.tune_ok, state.heartbeat = method, method.arguments["heartbeat"]
        state.frame_max = method.arguments["frame_max"]
        size = method.arguments["frame_max"]
        ids = ["connection.tune-ok.frame-max/minimum"]
        self.opinions.judge(not size or size >= 4096, ids, "4096 octets or more", str(size))
        if state.tune is None:
            return
        for name in ("frame_max", "channel_max"):
            offer, taken = state.tune.arguments[name], method.arguments[name]
            legal = not offer or (taken and taken <= offer)
            self.opinions.judge(legal, ["2.3.3/client-reduces-limits"], f"{name} up to {offer}", str(taken))

    def _connection_close(self, method: Method) -> None:
        self._s.closing = True

    def _connection_close_ok(self, method: Method) -> None:
        self.opinions.kept("2.3.7/close-handshake")
        self._s.answered = True

    def _channel_open(self, method: Method) -> None:
        is_open = method.channel in self._s.channels and not self._s.channels[method.channel].told
        self.opinions.judge(not is_open, ["channel.open/state"], "a channel that is not open", _name(method))
        self._s.channels[method.channel] = Channel()

    def _channel_close(self, method: Method) -> None:
        self._channel(method.channel).closing = True

    def _channel_close_ok(self, method: Method) -> None:
        self.opinions.kept("2.3.7/close-handshake", "channel.close/stability")
        self._s.channels.pop(method.channel, None)

    def _exchange_declare(self, method: Method) -> None:
        self._judge_name(method, "exchange", "exchange.declare.exchange")
        kind, name = method.arguments["type"], method.arguments["exchange"]
        known = PREDECLARED.get(name) or self._types.get(name)
        if known and not method.arguments["passive"]:
            shown = f"{name!r} declared as {kind}"
            self.opinions.judge(kind == known, ["exchange.declare.type/typed"], f"the same type, {known}", shown)
        if kind and kind not in ("direct", "fanout", "topic", "headers"):
            self.opinions.judge(kind.startswith("x-"), ["3.1.10/x-prefix"], "own types called x-...", kind)

    def _queue_declare(self, method: Method) -> None:
        self._judge_name(method, "queue", "queue.declare.queue")
        if method.arguments["passive"]:
            self.opinions.kept("queue.declare.passive/passive")

    def _judge_name(self, method: Method, argument: str, rule: str) -> None:
        name = method.arguments[argument]
        self.opinions.judge(NAME.match(name), [f"{rule}/syntax"], "letters, digits, - _ . :", repr(name[:60]))

    def _queue_bind(self, method: Method) -> None:
        self._judge_known(method)

    _queue_unbind = _queue_purge = _queue_delete = _queue_bind

    def _judge_known(self, method: Method) -> None:
        channel = self._channel(method.channel)
        if not method.arguments["queue"]:
            ids = [QUEUE_KNOWN[method.name]]
            self.opinions.judge(channel.declared, ids, "a queue declared before an empty name", _name(method))

    def _basic_consume(self, method: Method) -> None:
        channel, tag = self._channel(method.channel), method.arguments["consumer_tag"]
        if tag:
            ids = ["basic.consume.consumer-tag/01"]
            self.opinions.judge(tag not in channel.tags, ids, "a consumer tag that is not in use", repr(tag))
            if method.arguments["no_wait"]:
                channel.tags.add(tag)

    def _basic_cancel(self, method: Method) -> None:
        tag = method.arguments["consumer_tag"]
        elsewhere = [number for number, each in self._s.channels.items() if tag in each.tags]
        legal = method.channel in elsewhere or not elsewhere
        ids = ["basic.consume.consumer-tag/02"]
        self.opinions.judge(legal, ids, f"consumer tag {tag!r} on channel {elsewhere}", f"on {method.channel}")
        self._channel(method.channel).tags.discard(tag)

    def _tx_select(self, method: Method) -> None:
        self._channel(method.channel).transacted = True

    def _tx_commit(self, method: Method) -> None:
        transacted = self._channel(method.channel).transacted
        self.opinions.judge(transacted, [f"{method.name}/transacted"], "tx.select before", "no tx.select")

    _tx_rollback = _tx_commit

    def _channel_flow(self, method: Method) -> None:
        self.opinions.kept("channel.flow/initial-state")

    def _settle(self, method: Method, channel: Channel) -> None:
        tag, multiple = method.arguments["delivery_tag"], bool(method.arguments.get("multiple"))
        if tag in channel.unacked or (multiple and (tag == 0 or tag <= channel.highest)):
            self.opinions.kept("domain.delivery-tag/channel-local")
            gone = {each for each in channel.unacked if multiple and (tag == 0 or each <= tag)} | {tag}
            channel.unacked -= gone
            return
        others = [number for number, each in self._s.channels.items() if tag in each.unacked]
        if others and tag > channel.highest:
            ids = ["domain.delivery-tag/channel-local"]
            self.opinions.broke(ids, f"delivery tag {tag} settled on channel {others[0]}", f"on {method.channel}")

    # -- what the broker says

    def _from_broker(self, event: Event) -> None:
        item, state = event.item, self._s
        if not isinstance(item, Method):
            return
        channel = self._channel(item.channel)
        if item.name == "connection.start":
            state.foreign = (item.arguments["version_major"], item.arguments["version_minor"]) != (0, 9)
        elif item.name == "connection.tune":
            state.tune = item
        elif item.name == "connection.close-ok":
            self.opinions.kept("2.3.7/close-handshake")
        elif item.name in ("channel.close", "connection.close"):
            state.told = state.told or item.name == "connection.close"
            self._refused(item)
        elif item.name == "basic.deliver":
            if item.arguments["consumer_tag"] not in channel.no_ack:
                channel.unacked.add(item.arguments["delivery_tag"])
            channel.highest = max(channel.highest, item.arguments["delivery_tag"])
        elif item.name == "basic.get-ok":
            request = self._answered(channel, "basic.get")
            if request is None or not request.arguments["no_ack"]:
                channel.unacked.add(item.arguments["delivery_tag"])
            channel.highest = max(channel.highest, item.arguments["delivery_tag"])
        elif item.name.endswith(("-ok", "-empty")):
            self._granted(item, channel)

    def _granted(self, answer: Method, channel: Channel) -> None:
        """A request that was answered in good order kept every rule that could have refused it."""
        name = answer.name.removesuffix("-ok").removesuffix("-empty")
        request = self._answered(channel, name)
        if request is None:
            return
        self.opinions.kept(*(key for key in GOOD.get(name, ()) if _applies(key, request)))
        if name == "queue.declare":
            channel.declared = True
        elif name == "exchange.declare" and not request.arguments["passive"]:
            self._types[request.arguments["exchange"]] = request.arguments["type"]
        elif name == "exchange.delete":
            self._types.pop(request.arguments["exchange"], None)
        elif name == "basic.consume":
            channel.tags.add(answer.arguments["consumer_tag"])
            if request.arguments["no_ack"]:
                channel.no_ack.add(answer.arguments["consumer_tag"])

    @staticmethod
    def _answered(channel: Channel, name: str) -> Method | None:
        for request in channel.asked:
            if request.name == name:
                channel.asked.remove(request)
                return request
        return None

    def _refused(self, close: Method) -> None:
        arguments = close.arguments
        name = NUMBERS.get((arguments["class_id"], arguments["method_id"]), "")
        text, code = arguments["reply_text"], arguments["reply_code"]
        channels = self._s.channels.values() if close.name == "connection.close" else [self._channel(close.channel)]
        request = next((each.last[name] for each in channels if name in each.last), None)
        if close.name == "channel.close":
            self._channel(close.channel).told = True
        if request is not None:
            ids = _blamed(request, code, text)
            self.opinions.broke(ids, f"no cause for {code}", f"{_name(request)}: {code} {text[:120]}")

    # -- time and ends

    def _judge_silence(self, now: float) -> None:
        """A peer sends heartbeats when it has nothing else to say (section 4.2.7)."""
        state = self._s
        if not state.heartbeat or not state.last or state.closing or state.told:
            return
        silence = now - state.last
        if silence > state.heartbeat / 4:
            legal = silence <= 2 * state.heartbeat + TOLERANCE
            ids = ["4.2.7/any-traffic-counts"]
            self.opinions.judge(legal, ids, f"octets every {state.heartbeat} s", f"{silence:.1f} s of silence")

    def _client_ended(self, now: float) -> None:
        state = self._s
        self._judge_silence(now)
        if state.foreign:
            self.opinions.kept("connection.start/client-support")
        elif state.tune_ok is not None and not (state.closing or state.told) and self.opinions.situation == "plain":
            expected = "connection.close before the socket is closed"
            self.opinions.broke(["2.3.7/close-handshake"], expected, "the socket is closed at once")

    def _channel(self, number: int) -> Channel:
        return self._s.channels.setdefault(number, Channel()) if number else Channel()


def _applies(key: str, request: Method) -> bool:
    """Whether this request could have broken the rule at all."""
    arguments = request.arguments
    if key.endswith("/in-use"):
        return bool(arguments.get("if_unused"))
    if key.endswith("/not-empty"):
        return bool(arguments.get("if_empty"))
    if key == "basic.consume.exclusive/01":
        return bool(arguments["exclusive"])
    if key.endswith("/reserved"):
        name = arguments.get("exchange") or arguments.get("queue") or ""
        return name.startswith("amq.")
    if key.endswith("queue-known"):
        return not arguments["queue"]
    return True


def _blamed(request: Method, code: int, text: str) -> list[str]:
    """Return the rule that a refusal names, if one does."""
    arguments = request.arguments
    if (request.name, code) in REFUSED:
        return [key for key in REFUSED[request.name, code] if _applies(key, request)][:1]
    if code != 404 or request.name not in MISSING:
        return []
    if "queue" in arguments and not arguments["queue"] and request.name in QUEUE_KNOWN:
        return []  # judged when it was sent
    ends = [(argument, rule) for argument, rule in MISSING[request.name].items() if arguments.get(argument)]
    named = [rule for argument, rule in ends if f"{_word(argument)} '{arguments[argument]}'" in text]
    return named[:1] or ([ends[0][1]] if len(ends) == 1 else [])


def _word(argument: str) -> str:
    """Return what the embedded broker calls an argument in a reply text."""
    return "queue" if argument == "queue" else "exchange"


def _name(item: Any) -> str:
    if isinstance(item, Method):
        shown = {key: value for key, value in item.arguments.items() if key in ("queue", "exchange", "consumer_tag")}
        return f"{item.name} on channel {item.channel}" + (f" {shown}" if shown else "")
    return f"{type(item).__name__} on channel {getattr(item, 'channel', 0)}"
