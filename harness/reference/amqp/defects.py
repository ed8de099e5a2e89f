"""Deep faults that the reference broker commits on request: what no rewriting of frames on the way can express.

A defect is asked for by name where the broker keeps the rule, with ``defective("name")``. Every name stands here with
what it breaks; an unknown name is refused when the broker starts, so that a fault cannot silently do nothing.
"""

from collections.abc import Callable, Iterable
from typing import Final

KNOWN: Final[dict[str, str]] = {
    "topic-star-any": "in a topic pattern * matches zero words as well (3.1.3.3)",
    "topic-star-many": "in a topic pattern * matches several words as well (3.1.3.3)",
    "topic-hash-one": "in a topic pattern # needs at least one word (3.1.3.3)",
    "topic-hash-literal": "in a topic pattern # is an ordinary word (3.1.3.3)",
    "topic-case-blind": "topic patterns ignore case (3.1.3.3)",
    "direct-prefix": "a direct exchange matches when the binding key begins the routing key (3.1.3.1)",
    "direct-all": "a direct exchange routes to every bound queue (3.1.3.1)",
    "fanout-first-only": "a fanout exchange routes to its first binding only (3.1.3.2)",
    "fanout-by-key": "a fanout exchange compares routing keys (3.1.3.2)",
    "headers-any-as-all": "x-match any is treated as all (3.1.3.4)",
    "headers-all-as-any": "x-match all is treated as any (3.1.3.4)",
    "headers-void-exact": "a void binding argument matches a void header only (3.1.3.4)",
    "headers-x-counts": "arguments that begin with x- take part in matching (3.1.3.4)",
    "headers-by-key": "a headers exchange compares routing keys as well (3.1.3.4)",
    "copies-per-binding": "a queue gets one copy for each binding that matches (queue.bind/unique)",
    "no-default-binding": "new queues are not bound to the default exchange (queue.declare/default-binding)",
    "alternate-ignored": "an alternate exchange is never used",
    "unbind-ignored": "unbind answers ok and keeps the binding",
    "e2e-ignored": "bindings between exchanges route nothing",
    "cc-ignored": "the keys in header CC are not routed",
    "bcc-kept": "the header BCC reaches the consumer",
    "fifo-reversed": "a queue hands out its newest message first (3.1.4, 4.7)",
    "requeue-at-tail": "a message that comes back goes to the end of its queue",
    "requeue-lost": "messages that come back are forgotten (3.1.8)",
    "redelivered-unset": "messages that come back are not marked (domain.redelivered)",
    "prefetch-ignored": "prefetch counts are not kept (basic.qos.prefetch-count/01)",
    "prefetch-size-absolute": "prefetch-size blocks a single large message (basic.qos.prefetch-size/01)",
    "priority-ignored": "all messages have one priority (basic/06)",
    "priority-reversed": "low priorities go first (basic/06)",
    "delivered-twice": "a message goes to two consumers (3.1.4)",
    "purge-takes-unacked": "purge forgets delivered messages as well (queue.purge/02)",
    "ttl-ignored": "messages never expire",
    "ttl-restarts": "a message that comes back gets its time to live anew",
    "expires-ignored": "x-expires deletes nothing",
    "dead-letter-ignored": "dead messages are dropped although a dead-letter exchange is set",
    "x-death-uncounted": "x-death counts stay at 1",
    "max-length-ignored": "x-max-length and x-max-length-bytes bound nothing",
    "overflow-drops-new": "a full queue drops the newest message in place of the oldest",
    "tx-immediate": "work in a transaction is done at once, so that rollback undoes nothing",
    "exclusive-shared": "exclusive queues are open to every connection (queue.declare.exclusive)",
    "exclusive-kept": "exclusive queues outlive their connection",
    "auto-delete-kept": "auto-delete queues stay when their last consumer goes",
    "sac-all": "every consumer of a single-active-consumer queue receives",
    "consumer-priority-ignored": "x-priority of consumers is not honoured",
    "vhosts-shared": "all virtual hosts see the same exchanges and queues (3.1.2)",
    "heartbeats-unsent": "the broker sends no heartbeats",
    "heartbeats-unwatched": "a silent client is never dropped",
    "reply-to-queued": "direct reply-to names are not replaced",
    "no-local-ignored": "no-local consumers get their own connection's messages",
}


def checked(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a set. Raises ValueError for a name that no defect has."""
    wanted = frozenset(names)
    unknown = wanted - KNOWN.keys()
    if unknown:
        raise ValueError(f"no defect is called {', '.join(sorted(unknown))}")
    return wanted


def asker(names: frozenset[str]) -> Callable[[str], bool]:
    """Return the ``defective(name)`` that parts of a broker with these defects ask."""
    return names.__contains__
