"""How a connection begins: start, tune, open, and who may log in (section 2.2.4 and class connection)."""

import hmac
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Malformed
from mqproof.dissectors.amqp.fields import Reader
from mqproof.dissectors.amqp.tables import FRAME_MIN_SIZE
from mqproof.harness.reference.amqp import capabilities
from mqproof.harness.reference.amqp.errors import Abort

PRODUCT: Final = "mqproof reference broker"
MECHANISMS: Final = ("PLAIN", "AMQPLAIN")


def server_properties(host: str) -> dict[str, Any]:
    """Return what connection.start says of the broker (rule connection.start.server-properties/required-fields)."""
    try:
        release = version("mqproof")
    except PackageNotFoundError:
        release = "unknown"
    return {
        "host": host,
        "product": PRODUCT,
        "version": release,
        "platform": f"Python {platform.python_version()}",
        "copyright": "the authors of mqproof",
        "information": "Follows AMQP 0-9-1 to the letter. Keeps everything in memory: nothing survives its end.",
        "capabilities": capabilities.table(),
    }


def credentials(mechanism: str, response: bytes) -> tuple[str, str] | None:
    """Return user and password, or None when the response cannot be read.

    Raises Abort for a mechanism that was not offered: the socket is closed without a frame (rule
    connection.start-ok.mechanism/validity).
    """
    if mechanism not in MECHANISMS:
        raise Abort(f"mechanism {mechanism!r} was not offered")
    if mechanism == "PLAIN":
        parts = response.decode("utf-8", "surrogateescape").split("\0")
        return (parts[1], parts[2]) if len(parts) == 3 else None
    try:
        table = Reader(len(response).to_bytes(4) + response).table()
    except Malformed:
        return None
    user, password = table.get("LOGIN"), table.get("PASSWORD")
    return (user, password) if isinstance(user, str) and isinstance(password, str) else None


def same_secret(one: str, other: str) -> bool:
    """Compare passwords without telling by the time where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


def agreed(offered: int, chosen: int, name: str, least: int = 0) -> int:
    """Return the limit that both keep to. Raises Abort when tune-ok exceeds the offer (rules …/upper-limit).

    A limit of 0 is none. In tune-ok it is read as "the client sets no limit of its own", so that the offer stands.
    ``least``: frame-max may not be lower (rules …/minimum).
    """
    if offered and chosen > offered:
        raise Abort(f"{name} {chosen} in tune-ok exceeds the offered {offered}")
    if chosen and chosen < least:
        raise Abort(f"{name} {chosen} in tune-ok is below {least}")
    return chosen or offered


def agreed_frame_max(offered: int, chosen: int) -> int:
    """Return the largest frame in octets, 0 for no limit."""
    return agreed(offered, chosen, "frame-max", FRAME_MIN_SIZE)
