"""The byte account as people and programs read it: every octet once, by layer and by purpose; what messages cost."""

from typing import Any, Final

from mqproof.dissectors.overhead import connections
from mqproof.dissectors.overhead.summary import KIND_NAMES, KeyFigures, KeyName, Summary
from mqproof.dissectors.packets import state as w

SCHEMA: Final = 1
PACKET_LAYERS: Final = frozenset({"link", "ip", "tcp", "tcp_options", "padding", "repeated"})
PACKET_PURPOSES: Final = frozenset({"retransmission", "bare_ack"})
# What an application message costs: itself, its acknowledgements, and what TCP adds to both.
MESSAGE_PURPOSES: Final = (w.P_APPLICATION, w.P_ACKNOWLEDGEMENT, w.P_RETRANSMISSION, w.P_BARE_ACK)
_MESSAGE_GROUPS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "amqp": {"all": (w.G_AMQP,)},
    "mqtt": {"qos0": (w.G_QOS0,), "qos1": (w.G_QOS1,), "qos2": (w.G_QOS2,), "all": (w.G_QOS0, w.G_QOS1, w.G_QOS2)},
}


class Unbalanced(AssertionError):
    """The books do not add up to the captured octets: a fault of ours, never of the capture."""


def octets(summary: Summary, groups: tuple[int, ...], purposes: tuple[int, ...], layers: tuple[int, ...]) -> int:
    """Return the octets booked to any of these groups, purposes and layers."""
    return sum(
        summary.account[(group * w.PURPOSE_COUNT + purpose) * w.LAYER_COUNT + layer]
        for group in groups
        for purpose in purposes
        for layer in layers
    )


ALL_GROUPS: Final = tuple(range(len(w.GROUPS)))
ALL_PURPOSES: Final = tuple(range(len(w.PURPOSES)))
ALL_LAYERS: Final = tuple(range(len(w.LAYERS)))


def balanced(summary: Summary) -> int:
    """Return the octets that both axes must add up to, having checked that they do. Raises Unbalanced."""
    expected = summary.counters["captured"] - summary.counters["made_up"]
    layers = sum(octets(summary, ALL_GROUPS, ALL_PURPOSES, (layer,)) for layer in ALL_LAYERS)
    purposes = sum(octets(summary, ALL_GROUPS, (purpose,), ALL_LAYERS) for purpose in ALL_PURPOSES)
    everything = sum(summary.account)
    if not layers == purposes == everything == expected:
        raise Unbalanced(
            f"{expected} octets were captured, but {layers} are booked by layer, {purposes} by purpose and "
            f"{everything} in all"
        )
    return expected


def as_json(summary: Summary, *, top: int = 20) -> dict[str, Any]:
    """Return the account as the JSON contract has it. Raises Unbalanced."""
    total = balanced(summary)
    counters = summary.counters
    real = not summary.synthetic
    return {
        "schema": SCHEMA,
        "files": [
            {"name": name, "bytes": notes.size, "comments": notes.comments, "stopped_at": notes.stopped_at,
             "stopped_why": notes.stopped_why or None}
            for name, notes in zip(summary.files, summary.notes, strict=True)
        ],
        "synthetic_headers": summary.synthetic,
        "packets": counters["packets"] if real else None,
        "duration_s": round(max(0, summary.last_time - summary.first_time) / 1e9, 6),
        "bytes": {
            "captured": total,
            "wire": counters["wire"] if real else None,
            "file_framing": sum(notes.size for notes in summary.notes) - counters["captured"],
            "by_layer": by_layer(summary),
            "by_purpose": by_purpose(summary),
            "by_protocol": by_protocol(summary),
        },
        "kinds": kinds(summary),
        "messages": messages(summary),
        "topics": top_keys(summary, "mqtt", top),
        "routing_keys": top_keys(summary, "amqp", top),
        "connections": connections.as_json(summary.connections, top, real=real),
        "versions": connections.by_version(summary.connections, real=real),
        "tls": tls(summary),
        "tcp": _tcp(summary),
        "streams": {
            name: counters[name]
            for name in (
                "malformed", "resyncs", "damaged", "incomplete", "mid_stream", "tls_connections",
                "websocket_connections",
            )
        },
        "findings": [],
    }  # fmt: skip


def by_layer(summary: Summary) -> dict[str, int | None]:
    """Return octets by layer; None where the headers were made up."""
    return {
        name: None
        if summary.synthetic and name in PACKET_LAYERS
        else octets(summary, ALL_GROUPS, ALL_PURPOSES, (number,))
        for number, name in enumerate(w.LAYERS)
    }


def by_purpose(summary: Summary) -> dict[str, int | None]:
    """Return octets by purpose; None for what only real packets show."""
    return {
        name: None
        if summary.synthetic and name in PACKET_PURPOSES
        else octets(summary, ALL_GROUPS, (number,), ALL_LAYERS)
        for number, name in enumerate(w.PURPOSES)
    }


def by_protocol(summary: Summary) -> dict[str, dict[str, Any]]:
    """Return, per protocol (and MQTT QoS), octets and packets by purpose."""
    result = {}
    for group, name in enumerate(w.GROUPS):
        if not octets(summary, (group,), ALL_PURPOSES, ALL_LAYERS):
            continue
        packets = summary.class_packets[group * w.PURPOSE_COUNT : (group + 1) * w.PURPOSE_COUNT]
        result[name] = {
            "bytes": octets(summary, (group,), ALL_PURPOSES, ALL_LAYERS),
            "packets": None if summary.synthetic else sum(packets),
            "by_purpose": {
                purpose: octets(summary, (group,), (number,), ALL_LAYERS)
                for number, purpose in enumerate(w.PURPOSES)
                if octets(summary, (group,), (number,), ALL_LAYERS)
            },
            "by_layer": {
                layer: count
                for number, layer in enumerate(w.LAYERS)
                if (count := octets(summary, (group,), ALL_PURPOSES, (number,)))
            },
        }
    return result


def kinds(summary: Summary) -> dict[str, dict[str, dict[str, int]]]:
    """Return the packets and frames seen: whole ones, headers and end octets included in ``bytes``."""
    result: dict[str, dict[str, dict[str, int]]] = {"mqtt": {}, "amqp": {}}
    for (protocol, number), name in KIND_NAMES.items():
        row = summary.kinds[number * w.KIND_WORDS : (number + 1) * w.KIND_WORDS]
        if row[w.N_COUNT]:
            result[protocol][name] = {
                "count": row[w.N_COUNT],
                "bytes": row[w.N_BYTES],
                "payload": row[w.N_PAYLOAD],
                "from_client": row[w.N_FROM_CLIENT],
                "from_broker": row[w.N_FROM_BROKER],
            }
    return result


# A plaintext of so many octets is nearly always this. A guess, and told as one.
INFERRED_SIZES: Final = {
    "mqtt_keep_alive": "tls_size_2",  # PINGREQ, PINGRESP
    "mqtt_acknowledgement": "tls_size_4",  # PUBACK, PUBREC, PUBREL, PUBCOMP without properties
    "amqp_heartbeat": "tls_size_8",
    "amqp_acknowledgement": "tls_size_21",  # basic.ack
}


def tls(summary: Summary) -> dict[str, Any]:
    """Return what is known of TLS without keys, and apart from it what sizes and rhythm of records suggest."""
    counters = summary.counters
    inferred: dict[str, Any] = {name: counters[counter] for name, counter in INFERRED_SIZES.items()}
    inferred["keep_alive_exchanges"] = counters["tls_pings"]
    seconds = _ratio(counters["tls_interval_time"], counters["tls_intervals"])
    inferred["keep_alive_interval_s"] = None if seconds is None else round(seconds / 1e9, 3)
    return {
        "connections": counters["tls_connections"],
        "records": counters["tls_records"],
        "record_overhead": octets(summary, (w.G_TLS,), (w.P_UNDECODED,), (w.TLS,)),
        "handshake": octets(summary, (w.G_TLS,), (w.P_SETUP,), (w.TLS,)),
        "encrypted": octets(summary, (w.G_TLS,), (w.P_UNDECODED,), (w.UNDECODED,)),
        "inferred": {"records_of_known_size": counters["tls_sized"], **inferred},
    }


def messages(summary: Summary) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, per protocol and QoS, how many messages crossed the wire and what they cost."""
    return {
        protocol: {
            name: cost
            for name, groups in rows.items()
            if (cost := _cost(summary, groups))["published"] + cost["delivered"] + cost["direction_unknown"]
        }
        for protocol, rows in _MESSAGE_GROUPS.items()
    }


def _cost(summary: Summary, groups: tuple[int, ...]) -> dict[str, Any]:
    def count(column: int, *roles: int) -> int:
        rows = (summary.messages[(g * 4 + role) * w.MESSAGE_WORDS + column] for g in groups for role in roles)
        return sum(rows)

    published = count(w.N_MESSAGES, w.ROLE_CLIENT)
    delivered = count(w.N_MESSAGES, w.ROLE_BROKER)
    unknown = count(w.N_MESSAGES, w.ROLE_UNKNOWN)
    total = octets(summary, groups, MESSAGE_PURPOSES, ALL_LAYERS)
    payload = octets(summary, groups, MESSAGE_PURPOSES, (w.PAYLOAD,))
    packets = sum(summary.class_packets[g * w.PURPOSE_COUNT + p] for g in groups for p in MESSAGE_PURPOSES)
    known = total > 0  # of decrypted messages only the encrypted packets' cost is known, all together
    return {
        "published": published,
        "delivered": delivered,
        "direction_unknown": unknown,
        "repeated": count(w.N_REPEATED, w.ROLE_UNKNOWN, w.ROLE_CLIENT, w.ROLE_BROKER),
        "bytes": total,
        "payload": payload,
        "packets_per_delivered": _ratio(packets, delivered) if known and not summary.synthetic else None,
        "bytes_per_delivered": _ratio(total, delivered) if known else None,
        "overhead_per_delivered": _ratio(total - payload, delivered) if known else None,
        "overhead_per_message": _ratio(total - payload, published + delivered + unknown) if known else None,
        "payload_share": _ratio(payload, total, 4),
    }


def top_keys(summary: Summary, protocol: str, top: int) -> dict[str, Any]:
    """Return the ``top`` busiest topics or routing keys, the rest as one row, and how far the counts can be too low."""
    own = [(key[1], figures) for key, figures in summary.keys.items() if key[0] == protocol]
    own.sort(key=lambda pair: (-pair[1].messages, pair[0]))
    rest = KeyFigures()
    for _, figures in own[top:]:
        rest.add(figures)
    purged = summary.counters["keys_purged"] > 0
    return {
        "top": [{**_key_name((protocol, octets), figures), **_key_figures(figures)} for octets, figures in own[:top]],
        "distinct": None if purged else len(own),
        "other": _key_figures(rest),
        "counts_may_lack": summary.counters["keys_offset"],
    }


def _key_name(key: KeyName, figures: KeyFigures) -> dict[str, Any]:
    protocol, data = key
    if protocol == "mqtt":
        name: dict[str, Any] = {"topic": data.decode("utf-8", "backslashreplace")}
    else:
        end = 1 + (data[0] if data else 0)
        exchange, routing_key = data[1:end], data[end:]
        name = {
            "exchange": exchange.decode("utf-8", "backslashreplace"),
            "routing_key": routing_key.decode("utf-8", "backslashreplace"),
        }
    return name if figures.length <= len(data) else {**name, "cut": True}


def _key_figures(figures: KeyFigures) -> dict[str, int]:
    return {
        "published": figures.published,
        "delivered": figures.delivered,
        "payload": figures.payload,
        "bytes": figures.bytes,
    }


def _tcp(summary: Summary) -> dict[str, int | None]:
    of_streams = ("gaps", "lost_bytes", "connections", "connections_given_up", "reassembly_bound")
    of_packets = (
        "retransmitted", "retransmitted_bytes", "out_of_order", "cut_packets", "bad_packets", "fragments",
        "fragments_repeated", "datagrams_reassembled", "datagrams_given_up", "datagrams_bound",
    )  # fmt: skip
    return {
        **{name: summary.counters[name] for name in of_streams},
        **{name: None if summary.synthetic else summary.counters[name] for name in of_packets},
    }


def _ratio(part: int, whole: int, digits: int = 2) -> float | None:
    return round(part / whole, digits) if whole else None
