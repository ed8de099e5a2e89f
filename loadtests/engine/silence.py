"""What it means that nothing of a load arrived: often that the broker does not let this user publish or subscribe.

MQTT 3.1.1 section 3.3.5 lets a server acknowledge what it does not authorise, and drop it; what a user may not read is
dropped in silence, too. So a load of which nothing came through accuses nobody. That AMQP answers what it refuses.
"""

from mqproof.harness.ledger import NOTHING_CAME
from mqproof.loadtests.book import Book

REFUSALS = ("Forbidden: ", "Declined: ")  # what errors of a broker that says no begin with


def why_nothing_came(book: Book, protocol: str) -> str:
    """Return why no message of a load arrived, or nothing where some did, or where only the broker can have lost them.

    What is missing is excused then.
    """
    found = book.ledger.findings()
    if not found.published or found.delivered:
        return ""
    said = [error for error in book.errors if error.startswith(REFUSALS)]
    if found.refused >= found.published:
        reason = "the broker refuses every message: may this user publish there?"
    elif said:
        reason = said[0].partition(": ")[2]
    elif protocol == "mqtt":
        reason = f"none of {found.published:,} messages arrived: may this user publish and subscribe there?"
    else:
        return ""
    for route in sorted({route for books in book.ledger.publishers.values() for route in books.routes or {""}}):
        book.ledger.excuse_route(NOTHING_CAME, route)
    return reason
