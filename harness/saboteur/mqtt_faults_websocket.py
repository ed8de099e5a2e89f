"""Faults of MQTT brokers, last part: the WebSocket transport (section 6), deep inside the embedded broker."""

from mqproof.harness.saboteur.mqtt_making import defects

defects(
    ("web-protocol-unnamed", "4:6.0.0-4 5:6.0.0-4"),
    ("web-text-taken", "4:6.0.0-1 5:6.0.0-1"),
    ("web-text-sent", "4:6.0.0-1 5:6.0.0-1"),
    ("web-packet-per-frame", "4:6.0.0-2 5:6.0.0-2"),
    ("web-fragments-refused", "4:6.0.0-2 5:6.0.0-2"),
    ("web-long-refused", "4:6.0.0-2 5:6.0.0-2"),
)
