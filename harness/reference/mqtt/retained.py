"""Retained messages: MQTT 3.1.1 and 5.0 section 3.3.1.3.

Choices the text leaves open: a retained message of QoS 0 is kept like any other; one that expired is dropped when it is
next looked at.
"""

from dataclasses import replace

from mqproof.harness.reference.mqtt.delivery import Message
from mqproof.harness.reference.mqtt.topics import Defective, matches, sound


class RetainedStore:
    """At most one message per topic; ``octets`` says about how much is kept."""

    def __init__(self, defective: Defective = sound) -> None:
        self._messages: dict[str, Message] = {}
        self._defective = defective
        self.octets = 0

    def __len__(self) -> int:
        return len(self._messages)

    def note(self, message: Message) -> None:
        """Keep, replace, clear or leave alone, as RETAIN and payload ask (MQTT-3.3.1-5 to -8; 3.1.1: to -12)."""
        if message.retain and not self._defective("retained-not-stored"):
            self._keep(message)
        elif not message.retain and self._defective("retained-by-plain-publish"):
            self._put(message)
        elif not message.retain and self._defective("retained-cleared-by-plain-publish"):
            self.remove(message.topic)

    def _keep(self, message: Message) -> None:
        if self._defective("retained-not-replaced") and message.payload and message.topic in self._messages:
            return
        if message.payload or self._defective("retained-empty-stored"):
            self._put(replace(message, qos=0) if self._defective("retained-qos-zero") else message)
        elif not self._defective("retained-not-cleared"):
            self.remove(message.topic)

    def _put(self, message: Message) -> None:
        self.remove(message.topic)
        self._messages[message.topic] = message
        self.octets += message.size

    def remove(self, topic: str) -> None:
        """Forget the message of a topic, if there is one."""
        if old := self._messages.pop(topic, None):
            self.octets -= old.size

    def select(self, text: str, now: float) -> list[Message]:
        """Return the messages that a filter selects, in the order in which they were stored."""
        if "+" not in text and "#" not in text and not self._defective("topics-case-insensitive"):
            exact = self._messages.get(text)
            found = [exact] if exact else []
        elif self._defective("retained-only-exact"):
            found = []
        else:
            found = [message for topic, message in self._messages.items() if matches(text, topic, self._defective)]
        alive = []
        for message in found:
            if message.expired(now) and not self._defective("expiry-ignored"):
                self.remove(message.topic)
            else:
                alive.append(message)
        return alive

    def forget_publisher(self, client_id: str) -> None:
        """The defect of tying retained messages to their publisher's session, against MQTT-3.1.2-7 (3.1.1)."""
        for topic in [topic for topic, message in self._messages.items() if message.publisher == client_id]:
            self.remove(topic)
