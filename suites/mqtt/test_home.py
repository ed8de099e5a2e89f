"""A home: a sensor, a light, a thermostat and a dashboard, each of them an application that uses paho.

The thermostat listens to the temperature, the light to its commands, and the dashboard to everything in the house.
"""

import pytest


@pytest.fixture
def home(names):
    """The topic under which this house lives."""
    return names("home")


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_thermostat_hears_the_sensor(clients, home, qos):
    sensor, thermostat = clients(), clients()
    thermostat.subscribe(f"{home}/temp", qos)
    readings = [sensor.publish(f"{home}/temp", f"{degrees}".encode(), qos) for degrees in (19, 20, 21)]
    sensor.publish(f"{home}/temp", b"fence", qos)
    heard = [message.payload for message in thermostat.until(b"fence")]
    assert without_repetition(heard, qos) == [*readings, b"fence"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_dashboard_hears_the_whole_house(clients, home, qos):
    sensor, dashboard = clients(), clients()
    dashboard.subscribe(f"{home}/#", qos)
    sensor.publish(f"{home}/temp", b"21", qos)
    sensor.publish(f"{home}/light/cmd", b"off", qos)
    sensor.publish(home, b"fence", qos)
    heard = {(message.topic, message.payload) for message in dashboard.until(b"fence")}
    assert heard == {(f"{home}/temp", b"21"), (f"{home}/light/cmd", b"off"), (home, b"fence")}


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-3")
def test_light_hears_its_commands_and_nothing_else(clients, home):
    dashboard, light = clients(), clients()
    light.subscribe(f"{home}/light/cmd", 1)
    dashboard.publish(f"{home}/temp", b"21", 1)
    dashboard.publish(f"{home}/light/cmd", b"on", 1)
    dashboard.publish(f"{home}/light/state", b"dim", 1)
    dashboard.publish(f"{home}/light/cmd", b"fence", 1)
    assert [message.payload for message in light.until(b"fence")] == [b"on", b"fence"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_command_reaches_light_and_dashboard_alike(clients, home):
    dashboard, light = clients(), clients()
    dashboard.subscribe(f"{home}/#", 1)
    light.subscribe(f"{home}/light/cmd", 1)
    dashboard.publish(f"{home}/light/cmd", b"on", 1)
    dashboard.publish(f"{home}/light/cmd", b"fence", 1)
    assert [[message.payload for message in house.until(b"fence")] for house in (light, dashboard)] == [
        [b"on", b"fence"], [b"on", b"fence"]
    ]  # fmt: skip


def without_repetition(payloads, qos):
    """At least once allows repetition; at most once and exactly once do not."""
    return list(dict.fromkeys(payloads)) if qos == 1 else payloads
