"""An ordinary paho application, as `mqproof client-test` runs it: subscribes, publishes at every QoS, stays a while."""

import os
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

IS_V5 = os.environ["MQPROOF_PROTOCOL"] == "mqtt5"
TOPIC = "example/paho"
arrived = threading.Event()
subscribed = threading.Event()


def on_connect(client, data, flags, reason_code, properties):
    """Subscribe, also after every reconnect."""
    if not reason_code.is_failure:
        client.subscribe([(f"{TOPIC}/#", 2), ("example/+/other", 1)])


def on_message(client, data, message):
    """Note the last one."""
    if message.payload == b"last":
        arrived.set()


client = mqtt.Client(
    CallbackAPIVersion.VERSION2,
    client_id="paho-example",
    protocol=mqtt.MQTTv5 if IS_V5 else mqtt.MQTTv311,
    **({} if IS_V5 else {"clean_session": False}),
)
client.username_pw_set("user", "password")
client.will_set(f"{TOPIC}/will", b"gone", qos=1)
client.on_connect = on_connect
client.on_message = on_message
client.on_subscribe = lambda *arguments: subscribed.set()
client.reconnect_delay_set(0.1, 0.5)
more = {}
if IS_V5:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 60
    properties.TopicAliasMaximum = 5
    is_clean = os.environ["MQPROOF_SITUATION"] == "liar"
    more = {"clean_start": is_clean, "properties": properties}
client.connect(os.environ["MQPROOF_HOST"], int(os.environ["MQPROOF_PORT"]), keepalive=2, **more)
client.loop_start()
subscribed.wait(5)
for number in range(6):
    for qos in (0, 1, 2):
        try:
            client.publish(f"{TOPIC}/{qos}", f"message {number}", qos=qos)
        except ValueError:  # above the broker's Maximum QoS: paho refuses it itself
            pass
client.publish(f"{TOPIC}/last", b"last", qos=1)
arrived.wait(8)
threading.Event().wait(5)  # idle for longer than the keep-alive
client.unsubscribe("example/+/other")
threading.Event().wait(0.5)
client.disconnect()
client.loop_stop()

plain = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="", protocol=mqtt.MQTTv5 if IS_V5 else mqtt.MQTTv311)
ready = threading.Event()
plain.on_subscribe = lambda *arguments: ready.set()
plain.on_connect = lambda *arguments: plain.subscribe("$share/workers/example/#" if IS_V5 else "example/#", 1)
plain.connect(os.environ["MQPROOF_HOST"], int(os.environ["MQPROOF_PORT"]))
plain.loop_start()
ready.wait(5)
plain.disconnect()
plain.loop_stop()
