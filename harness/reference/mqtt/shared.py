"""Shared subscriptions: MQTT 5.0 section 4.8.2.

Choices the text leaves open: messages go round the members in turn; members with a connection and an open send window
come before members with a full window, and those before members without a connection, whose sessions queue QoS 1 and 2.
A message stays with the member it was given to until that member's session ends; then QoS 0, QoS 1 and what was never
sent go to another one.
"""

from mqproof.harness.reference.mqtt.session import Grant, Session
from mqproof.harness.reference.mqtt.topics import Defective


class ShareGroup:
    """The sessions that hold one ShareName and filter."""

    def __init__(self, defective: Defective) -> None:
        self._members: dict[str, tuple[Session, Grant]] = {}
        self._defective = defective

    def __bool__(self) -> bool:
        return bool(self._members)

    def join(self, session: Session, grant: Grant) -> None:
        """Add a member, or replace its options."""
        self._members[session.client_id] = (session, grant)

    def leave(self, session: Session) -> None:
        """Remove a member."""
        self._members.pop(session.client_id, None)

    def choose(self, qos: int) -> list[tuple[Session, Grant]]:
        """Return the one member that gets the next message and move it to the end of the row; none when nobody can."""
        members = list(self._members.values())
        if self._defective("shared-to-all"):
            return members
        if not members:
            return []
        in_turn = self._defective("shared-to-the-gone")
        chosen = members[0] if in_turn else max(members, key=lambda member: _readiness(member[0], qos))
        del self._members[chosen[0].client_id]
        self._members[chosen[0].client_id] = chosen
        return [chosen]


def _readiness(session: Session, qos: int) -> int:
    if session.connection is None:
        return 0
    return 2 if qos == 0 or session.outbox.quota > 0 else 1
