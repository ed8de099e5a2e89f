"""Drivers: how a local broker is started, stopped, killed and restarted, each under its name on the command line."""

from mqproof.harness.targets.drivers.amqtt import Amqtt
from mqproof.harness.targets.drivers.base import Driver
from mqproof.harness.targets.drivers.embedded import Embedded
from mqproof.harness.targets.drivers.mosquitto import Mosquitto
from mqproof.harness.targets.drivers.rabbitmq import RabbitMQ

DRIVERS: dict[str, Driver] = {driver.name: driver for driver in (Embedded(), RabbitMQ(), Mosquitto(), Amqtt())}
