"""Known defects: ways in which the reference broker breaks a statement on request.

A saboteur in front of a broker can rewrite packets, but some promises are kept or broken in the broker's state. A
broker started with ``defects={"name"}`` breaks exactly those; one started without keeps them all.
"""

DEFECTS = {
    # topics
    "dollar-matched-by-wildcard": "a filter that starts with a wildcard selects topics that start with $",
    "hash-without-parent": "a/# does not select a itself",
    "plus-needs-text": "+ does not select an empty level",
    "topics-case-insensitive": "topics are matched without regard to case",
    # retained messages
    "retained-not-stored": "RETAIN is ignored when a message is published",
    "retained-not-replaced": "the first retained message of a topic stays for ever",
    "retained-not-cleared": "an empty retained payload does not clear the retained message",
    "retained-empty-stored": "an empty retained payload is itself stored",
    "retained-by-plain-publish": "a publish with RETAIN 0 replaces the retained message",
    "retained-cleared-by-plain-publish": "a publish with RETAIN 0 removes the retained message",
    "retained-with-session": "retained messages go when their publisher's connection ends",
    "retained-only-exact": "a filter with wildcards brings no retained messages",
    "retained-on-new-only": "subscribing again brings no retained messages, whatever Retain Handling says",
    "retain-handling-ignored": "subscribing always brings retained messages",
    "retained-to-shared": "a shared subscription brings retained messages, whatever Retain Handling says",
    "retained-qos-zero": "retained messages are stored at QoS 0",
    # sessions
    "session-forgotten": "every session ends with its connection",
    "session-kept": "clean start does not discard the stored session",
    "session-expiry-ignored": "sessions never expire",
    "session-expiry-of-connect": "a Session Expiry Interval in DISCONNECT is ignored",
    "subscriptions-forgotten": "a resumed session has lost its subscriptions",
    "offline-messages-lost": "nothing is queued for a session without a connection",
    "in-flight-lost": "what was sent and not acknowledged is forgotten with the connection",
    "received-ids-lost": "the identifiers of received QoS 2 messages are forgotten with the connection",
    "client-id-shared-state": "capital letters at the end of a client identifier are overlooked",
    "assigned-id-constant": "every client without an identifier is assigned the same one",
    "takeover-ignored": "an older connection with the same client identifier is left open",
    "will-lost": "no will is ever published",
    "will-after-disconnect": "DISCONNECT does not remove the will",
    "will-not-after-cut": "a will is published only when the client says so by DISCONNECT 0x04",
    "will-not-retained": "Will Retain is ignored",
    "will-always-retained": "every will is retained",
    "will-delay-ignored": "wills are published at once",
    "will-survives-resume": "resuming the session does not withdraw a delayed will",
    "will-waits-for-delay": "the end of the session does not publish a will before its delay is over",
    "will-twice": "a will is published twice",
    "will-properties-lost": "a will is published without its properties",
    # delivery
    "qos1-not-resent": "an unacknowledged QoS 1 message is not sent again when the session resumes",
    "qos2-not-resent": "an unacknowledged QoS 2 message is not sent again when the session resumes",
    "pubrel-not-resent": "an unacknowledged PUBREL is not sent again when the session resumes",
    "publish-after-pubrel": "the PUBLISH instead of the PUBREL is sent again when the session resumes",
    "resent-after-ack": "an acknowledged message is sent again when the session resumes",
    "resent-with-new-id": "messages that are sent again have new packet identifiers",
    "resent-in-reverse": "messages are sent again in reverse order when the session resumes",
    "resent-without-dup": "messages are sent again with DUP 0",
    "dup-forwarded": "the DUP flag of the publisher is passed on to subscribers",
    "packet-id-constant": "every message gets packet identifier 1, used or not",
    "offline-reversed": "messages that were queued for an absent session come in reverse order",
    "qos2-delivered-again": "a repeated QoS 2 PUBLISH is delivered again",
    "qos2-id-never-freed": "a QoS 2 packet identifier counts as used after PUBCOMP",
    "qos1-id-remembered": "a repeated packet identifier at QoS 1 is taken for a duplicate",
    "granted-qos-ignored": "messages are delivered at the QoS they were published at",
    "always-granted-qos": "messages are delivered at the granted QoS even when published lower",
    "receive-maximum-ignored": "the client's Receive Maximum is ignored",
    "expiry-ignored": "messages never expire",
    "expiry-not-reduced": "Message Expiry Interval is passed on as it came",
    "expiry-of-started": "a QoS 2 message that was already sent expires",
    "too-large-sent": "the client's Maximum Packet Size is ignored",
    "too-large-blocks": "a message that is too large for a client ends its connection",
    # subscriptions
    "subscription-not-replaced": "subscribing again keeps the old options",
    "subscription-lost-on-replace": "subscribing again drops messages that were still queued",
    "unsubscribe-ignored": "UNSUBSCRIBE removes nothing",
    "unsubscribe-by-match": "UNSUBSCRIBE removes every filter that its filter selects",
    "unsubscribe-drops-in-flight": "UNSUBSCRIBE ends deliveries that have started",
    "overlap-lowest-qos": "overlapping subscriptions deliver at the lowest granted QoS",
    "overlap-first-identifier": "one copy for overlapping subscriptions carries only one identifier",
    "identifiers-forgotten": "subscription identifiers are not sent along",
    "no-local-ignored": "No Local is ignored",
    "retain-as-published-ignored": "live messages always have RETAIN 0",
    "retain-always-published": "live messages keep RETAIN whatever the subscription asks",
    "shared-to-all": "a shared subscription delivers to each of its members",
    "shared-qos-ignored": "shared messages are delivered at the QoS they were published at",
    "shared-to-the-gone": "a member of a shared subscription whose session has ended still gets its share of messages",
    "shared-redirected": "a shared message that its receiver refused or did not finish goes to another member",
    # the WebSocket transport
    "web-protocol-unnamed": "the answer to the handshake names no subprotocol",
    "web-text-taken": "text frames are taken like binary ones",
    "web-text-sent": "packets are sent in text frames",
    "web-packet-per-frame": "a frame that is not made of whole packets ends the connection",
    "web-fragments-refused": "a message in fragments ends the connection",
    "web-long-refused": "a frame of 65536 octets or more ends the connection",
    # connections
    "keep-alive-ignored": "silent clients are never dropped",
    "keep-alive-early": "silent clients are dropped after half the keep-alive",
    "aliases-kept": "topic aliases of a client outlive its connection",
    "alias-maximum-ignored": "the server's topic aliases exceed the client's maximum",
    "login-ignored": "any user name and password is accepted",
    "properties-reversed": "user properties are passed on in reverse order",
    "properties-dropped": "properties of messages are not passed on",
}


def check_known(defects: frozenset[str]) -> frozenset[str]:
    """Return the same set. Raises ValueError naming a defect that does not exist."""
    unknown = sorted(defects - DEFECTS.keys())
    if unknown:
        raise ValueError(f"no such defect of the MQTT reference broker: {', '.join(unknown)}")
    return defects
