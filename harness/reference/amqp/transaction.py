"""Class tx: work on a channel that waits for commit."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.channel import Delivery


class Transaction:
    """Publishes and settlements in the order in which they came. Closing the channel rolls back (tx.select)."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []
        self._settling: list[Delivery] = []

    def publish(self, act: Callable[[], None]) -> None:
        """Keep a publish for the commit."""
        self._work.append(act)

    def settle(self, deliveries: "list[Delivery]", act: Callable[[], None]) -> None:
        """Keep an ack, nack or reject for the commit (statement tx-reject/01); its tags cannot be settled again."""
        for delivery in deliveries:
            delivery.settling = True
        self._settling += deliveries
        self._work.append(act)

    def commit(self) -> None:
        """Do the work, in order; the next transaction begins."""
        work, self._work, self._settling = self._work, [], []
        for act in work:
            act()

    def rollback(self) -> None:
        """Forget the work. What was settled is outstanding again; it is not delivered anew (tx.rollback)."""
        for delivery in self._settling:
            delivery.settling = False
        self._work, self._settling = [], []
