"""The application of the worked example: a shop that publishes orders and handles them, urgent ones first.

python application.py [HOST] [PORT]
"""

import sys

import pika

HOST, PORT = (sys.argv[1:2] or ["127.0.0.1"])[0], int((sys.argv[2:3] or ["5672"])[0])
ORDERS = 8

connection = pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT, heartbeat=60))
channel = connection.channel()
channel.confirm_delivery()
channel.exchange_declare("shop", "topic", durable=True)
channel.exchange_declare("shop.failed", "fanout", durable=True)
channel.queue_declare("shop.failed", durable=True)
channel.queue_bind("shop.failed", "shop.failed")
channel.queue_declare(
    "shop.orders", durable=True, arguments={"x-max-priority": 5, "x-dead-letter-exchange": "shop.failed"}
)
channel.queue_bind("shop.orders", "shop", "order.#")
for number in range(ORDERS):
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2, priority=number % 3)
    channel.basic_publish("shop", "order.created", b'{"order": %d}' % number, properties, mandatory=True)

channel.basic_qos(prefetch_count=3)
for number, (method, _, _) in enumerate(channel.consume("shop.orders", inactivity_timeout=2), 1):
    if method is None:
        break
    if number == ORDERS:
        channel.basic_reject(method.delivery_tag, requeue=False)  # cannot be handled: to shop.failed
        break
    channel.basic_ack(method.delivery_tag)
channel.cancel()
for queue in ("shop.orders", "shop.failed"):
    channel.queue_delete(queue)
for exchange in ("shop", "shop.failed"):
    channel.exchange_delete(exchange)
connection.close()
