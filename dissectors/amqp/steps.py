"""Turns the methods of tables.py into the numbers by which the kernel walks their arguments."""

from mqproof.dissectors.amqp.tables import BOTH, METHODS, SERVER, MethodSpec
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.state import Words

_ACKS = ("basic.ack", "basic.nack", "basic.reject")
_MESSAGES = ("basic.publish", "basic.deliver", "basic.get-ok", "basic.return")
_FIXED = {"octet": 1, "short": 2, "long": 4, "longlong": 8, "timestamp": 8}


def install(s: Words) -> None:
    """Write the methods' table into ``s``: by class and method id; purpose, role of the sender, content, steps."""
    for number, spec in enumerate(METHODS.values()):
        s[w.METHOD_INDEX + (spec.class_id // 5) * 128 + spec.method_id] = number + 1
        row = w.METHODS + number * w.METHOD_WORDS
        s[row + w.A_PURPOSE] = _purpose(spec)
        s[row + w.A_ROLE] = _sender(spec)
        s[row + w.A_CONTENT] = int(spec.content)
        for i, step in enumerate(_steps(spec)):
            s[row + w.A_STEPS + i] = step


def _purpose(spec: MethodSpec) -> int:
    if spec.name in _ACKS:
        return w.P_ACKNOWLEDGEMENT
    return w.P_APPLICATION if spec.name in _MESSAGES or spec.name in ("basic.get", "basic.get-empty") else w.P_SETUP


def _sender(spec: MethodSpec) -> int:
    if spec.received_by == BOTH:
        return w.ROLE_UNKNOWN
    return w.ROLE_CLIENT if spec.received_by == SERVER else w.ROLE_BROKER


def _steps(spec: MethodSpec) -> list[int]:
    """Return what to do with the arguments, one number each: pass so many octets, or a STEP_ constant."""
    if spec.name not in _MESSAGES + _ACKS:
        return [w.STEP_REST]
    steps = []
    for field in spec.fields:
        if field.name == "delivery-tag":
            steps.append(w.STEP_TAG)
        elif field.name in ("exchange", "routing-key"):
            steps.append(w.STEP_EXCHANGE if field.name == "exchange" else w.STEP_ROUTING_KEY)
        elif field.type == "bit":
            if steps[-1] != w.STEP_BITS:
                steps.append(w.STEP_BITS)
        else:
            steps.append(_FIXED.get(field.type, w.STEP_SHORTSTR))
    return [*steps, w.STEP_REST]
