"""Enhanced authentication: MQTT 5.0 section 4.12, with one method, ``MQPROOF-ECHO``.

The server's AUTH carries a challenge: ``echo:`` and the Authentication Data that the client began with. The client's
AUTH must carry the same octets back. There is no secret in it: it exists to show the exchange, not to protect anything.
"""

from mqproof.dissectors.mqtt.codec import Auth, Properties, prop
from mqproof.dissectors.mqtt.tables import ReasonCode
from mqproof.harness.reference.mqtt.refusal import Refusal

METHOD = "MQPROOF-ECHO"
CHALLENGE = b"echo:"


def check_method(properties: Properties) -> str | None:
    """Return the Authentication Method of a CONNECT, None for none.

    Raises Refusal for methods that are not supported (MQTT-4.12.0-1) and for data without a method (3.1.2.11.10).
    """
    method: str | None = prop(properties, "authentication_method")
    if method is None and prop(properties, "authentication_data") is not None:
        raise Refusal(ReasonCode.PROTOCOL_ERROR, "Authentication Data without Authentication Method")
    if method is not None and method != METHOD:
        raise Refusal(ReasonCode.BAD_AUTHENTICATION_METHOD, f"the only authentication method is {METHOD}")
    return method


class Exchange:
    """One authentication or re-authentication, from the server's side."""

    def __init__(self, initial: bytes | None) -> None:
        self._challenge = CHALLENGE + (initial or b"")

    def challenge(self) -> Auth:
        """Return the AUTH that asks the client to go on (MQTT-4.12.0-2, MQTT-4.12.0-5)."""
        properties = (("authentication_method", METHOD), ("authentication_data", self._challenge))
        return Auth(ReasonCode.CONTINUE_AUTHENTICATION, properties)

    def answer(self, packet: Auth) -> None:
        """Take the client's AUTH. Raises Refusal unless it continues with the right answer (MQTT-4.12.0-3, -4)."""
        check_same_method(packet)
        if packet.reason_code != ReasonCode.CONTINUE_AUTHENTICATION:
            raise Refusal(ReasonCode.PROTOCOL_ERROR, "AUTH that does not continue the authentication")
        if prop(packet.properties, "authentication_data") != self._challenge:
            raise Refusal(ReasonCode.NOT_AUTHORIZED, "wrong answer to the challenge")


def check_same_method(packet: Auth) -> None:
    """MQTT-4.12.0-5, MQTT-4.12.1-1. Raises Refusal."""
    if prop(packet.properties, "authentication_method") != METHOD:
        raise Refusal(ReasonCode.PROTOCOL_ERROR, "AUTH without the Authentication Method of CONNECT")
