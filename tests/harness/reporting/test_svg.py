"""Pictures: well-formed, escaped, in the order of time, and of bounded size."""

import xml.etree.ElementTree as ElementTree

from mqproof.harness.reporting.svg import MOST, bars, sequence

SVG = "{http://www.w3.org/2000/svg}"


def wire(title: str, started: float, *lines: tuple[float, str, str]) -> dict:
    return {
        "title": title,
        "started": started,
        "lines": [{"ms": ms, "direction": direction, "text": text} for ms, direction, text in lines],
    }


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_lines_of_all_connections_stand_in_the_order_of_time():
    one = wire("one", 10.0, (0, ">", "first"), (30, "<", "third"))
    two = wire("two", 10.01, (5, ">", "second"), (40, "!", "fourth"))
    said = [text for text in texts(sequence([one, two])) if text in ("first", "second", "third", "fourth")]
    assert said == ["first", "second", "third", "fourth"]


def test_arrows_point_to_whom_it_was_said():
    picture = ElementTree.fromstring(sequence([wire("one", 0, (0, ">", "to"), (1, "<", "from"))]))
    to, back = [line for line in picture.iter(f"{SVG}line") if line.get("marker-end")]
    assert float(to.get("x1", 0)) < float(to.get("x2", 0))
    assert float(back.get("x1", 0)) > float(back.get("x2", 0))


def test_what_is_said_cannot_break_the_picture():
    assert "<b>&\"'" in texts(sequence([wire("<i>", 0, (0, ">", "<b>&\"'"))]))


def test_a_control_character_does_not_make_the_picture_unreadable():
    """XML forbids them, and a program shows nothing of such a picture."""
    picture = sequence([wire("\x00", 0, (0, ">", "\x1b[2J\ufffe"))])
    assert texts(picture) == ["\\x00", "broker", "      0.0 ms", "\\x1b[2J\\ufffe"]
    assert "a\\x08" in texts(bars("t", [("a\x08", 1.0)], "B"))


def test_of_a_long_conversation_the_middle_is_left_out():
    said = texts(sequence([wire("one", 0, *((n, ">", f"line {n}") for n in range(1000)))]))
    assert sum(text.startswith("line ") for text in said) == MOST
    assert f"{1000 - MOST} lines are left out" in said
    assert {"line 0", "line 999"} <= set(said)


def test_no_conversation_at_all_is_a_picture_too():
    ElementTree.fromstring(sequence([]))


def test_bars_show_names_and_values():
    said = texts(bars("Overhead", [("mqtt <1>", 10.0), ("amqp", 0.0)], "B"))
    assert {"Overhead", "mqtt <1>", "10 B", "0 B"} <= set(said)
