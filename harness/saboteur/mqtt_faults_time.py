"""Faults of MQTT brokers, on time: keep-alive, expiry of sessions and messages, will delay, deep inside the broker."""

from mqproof.harness.saboteur.mqtt_making import defects

defects(
    ("keep-alive-ignored", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22 4:3.1.2-8 5:3.1.2-8"),
    ("keep-alive-early", "4:3.1.2-24 5:3.1.2-22 5:3.2.2-22"),
    ("session-expiry-ignored", "5:4.1.0-2"),
    ("expiry-ignored", "5:3.3.2-5"),
    ("expiry-not-reduced", "5:3.3.2-6"),
    ("expiry-of-started", "5:4.3.3-7 5:4.3.3-13"),
    ("will-delay-ignored", "5:3.1.2-8 5:3.1.3-9"),
    ("will-survives-resume", "5:3.1.3-9"),
)
