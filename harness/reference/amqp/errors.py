"""What a handler raises when the client asked for something illegal (AMQP 0-9-1 section 4.8.1)."""

from mqproof.dissectors.amqp.tables import REPLY_CODES

_SHORTSTR_MAX = 255  # octets; section 4.2.5.3


class Refusal(Exception):
    """An AMQP exception: ``code`` and ``text`` go to the client in channel.close or connection.close.

    ``hard``: True closes the connection, False the channel. The reply code's own kind decides unless it is given.
    """

    def __init__(self, code: int, text: str, *, hard: bool | None = None) -> None:
        reply = REPLY_CODES[code]
        self.code = code
        self.text = shorten(f"{reply.name.upper().replace('-', '_')} - {text}")
        self.hard = bool(reply.hard) if hard is None else hard
        super().__init__(f"{code} {self.text}")


class Abort(Exception):
    """An error after which nothing more may be sent: the socket is closed without a word (sections 2.2.4, 4.2.3)."""


def shorten(text: str) -> str:
    """Return ``text`` cut to what a short string holds (255 octets of UTF-8)."""
    octets = text.encode("utf-8", "surrogateescape")
    if len(octets) <= _SHORTSTR_MAX:
        return text
    return octets[: _SHORTSTR_MAX - 3].decode("utf-8", "ignore") + "..."
