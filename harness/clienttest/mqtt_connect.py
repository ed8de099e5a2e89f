"""Reads a CONNECT by its own flags, so that a broken one says which statement it breaks (section 3.1)."""

from dataclasses import dataclass

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.clienttest.opinions import Opinions

# What each finding breaks: ids of 3.1.1 and of 5.0; "" where that version has no such statement of its own.
IDS = {
    "will fields": ("MQTT-3.1.2-9", "MQTT-3.1.2-9"),
    "will zero": ("MQTT-3.1.2-11", ""),
    "will qos zero": ("MQTT-3.1.2-13", "MQTT-3.1.2-11"),
    "will retain zero": ("MQTT-3.1.2-15", "MQTT-3.1.2-13"),
    "will qos three": ("MQTT-3.1.2-14", "MQTT-3.1.2-12"),
    "user absent": ("MQTT-3.1.2-18", "MQTT-3.1.2-16"),
    "user there": ("MQTT-3.1.2-19", "MQTT-3.1.2-17"),
    "password absent": ("MQTT-3.1.2-20", "MQTT-3.1.2-18"),
    "password there": ("MQTT-3.1.2-21", "MQTT-3.1.2-19"),
    "password alone": ("MQTT-3.1.2-22", ""),
    "order": ("MQTT-3.1.3-1", "MQTT-3.1.3-1"),
    "id there": ("MQTT-3.1.3-3", "MQTT-3.1.3-3"),
    "id text": ("MQTT-3.1.3-4", "MQTT-3.1.3-4"),
    "empty id": ("MQTT-3.1.3-7", ""),
    "will topic text": ("MQTT-3.1.3-10", "MQTT-3.1.3-11"),
    "user text": ("MQTT-3.1.3-11", "MQTT-3.1.3-12"),
}
WILL, USER, PASSWORD, RETAIN, CLEAN = 0x04, 0x80, 0x40, 0x20, 0x02


class Short(Exception):
    """The packet ends inside a field."""


@dataclass(slots=True)
class Cursor:
    """A place in the body of a packet."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return so many octets. Raises Short."""
        if self.at + count > len(self.data):
            raise Short
        self.at += count
        return self.data[self.at - count : self.at]

    def field(self) -> bytes:
        """Return a field with its length in front."""
        return self.take(int.from_bytes(self.take(2)))

    def varint(self) -> int:
        """Return a Variable Byte Integer."""
        value = shift = 0
        while True:
            octet = self.take(1)[0]
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80 or shift > 21:
                return value


def ids(name: str, version: Version) -> tuple[str, ...]:
    """Return the statements behind a finding."""
    found = IDS[name][version is Version.V5_0]
    return (found,) if found else ()


def judge_connect(octets: bytes, opinions: Opinions) -> Version | None:
    """Judge the CONNECT in these octets; return its version, or None where it does not get that far."""
    cursor = Cursor(octets, 1)
    try:
        cursor.varint()
        cursor.field()
        version = Version.V5_0 if cursor.take(1)[0] == 5 else Version.V3_1_1
        flags = cursor.take(1)[0]
        cursor.take(2)
        if version is Version.V5_0:
            cursor.take(cursor.varint())
    except Short:
        return None
    _judge_flags(flags, version, opinions)
    _judge_payload(flags, cursor, version, opinions)
    return version


def _judge_flags(flags: int, version: Version, opinions: Opinions) -> None:
    shown = f"connect flags {flags:#010b}"
    qos = flags >> 3 & 3
    if flags & WILL:
        opinions.judge(qos != 3, ids("will qos three", version), "Will QoS 0, 1 or 2", shown)
    else:
        opinions.judge(not flags & 0x38, ids("will zero", version), "no will bits without Will Flag", shown)
        opinions.judge(not qos, ids("will qos zero", version), "Will QoS 0 without Will Flag", shown)
        opinions.judge(not flags & RETAIN, ids("will retain zero", version), "Will Retain 0 without Will Flag", shown)
    if not flags & USER:
        opinions.judge(not flags & PASSWORD, ids("password alone", version), "no password without user name", shown)


def _judge_payload(flags: int, cursor: Cursor, version: Version, opinions: Opinions) -> None:
    """Read the fields that the flags announce; the first that is missing is the one to blame."""
    wanted = [("id there", True), ("will fields", flags & WILL), ("user there", flags & USER)]
    wanted.append(("password there", flags & PASSWORD))
    for name, announced in wanted:
        if not announced:
            continue
        try:
            fields = _read(name, cursor, version)
        except Short:
            broken = ids(name, version) + ids("order", version)
            opinions.broke(broken, f"the field that the flags announce ({name})", "the packet ends before or in it")
            return
        opinions.kept(*ids(name, version))
        _judge_texts(name, fields, flags, version, opinions)
    surplus = len(cursor.data) - cursor.at
    blamed = "user absent" if not flags & USER else "password absent" if not flags & PASSWORD else ""
    opinions.judge(not surplus, ids("order", version), "nothing behind the last field", f"{surplus} octets more")
    for name, flag in (("user absent", USER), ("password absent", PASSWORD)):
        if not flags & flag and (not surplus or name == blamed):
            opinions.judge(not surplus, ids(name, version), "no field that no flag announces", f"{surplus} octets")


def _read(name: str, cursor: Cursor, version: Version) -> list[bytes]:
    if name != "will fields":
        return [cursor.field()]
    if version is Version.V5_0:
        cursor.take(cursor.varint())
    return [cursor.field(), cursor.field()]


def _judge_texts(name: str, fields: list[bytes], flags: int, version: Version, opinions: Opinions) -> None:
    text = {"id there": "id text", "will fields": "will topic text", "user there": "user text"}.get(name)
    if text:
        opinions.judge(_is_text(fields[0]), ids(text, version), "well-formed UTF-8", fields[0][:40].hex(" "))
    if name == "id there" and not fields[0]:
        clean = flags & CLEAN
        opinions.judge(clean, ids("empty id", version), "Clean Session 1 with an empty id", f"flags {flags:#010b}")


def _is_text(octets: bytes) -> bool:
    """Whether octets are an MQTT string: UTF-8 without surrogates and U+0000 (sections 1.5.3, 1.5.4)."""
    try:
        return "\0" not in octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
