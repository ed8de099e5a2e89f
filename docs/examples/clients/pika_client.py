"""An ordinary pika application, as `mqproof client-test` runs it: topology, confirms, consuming, transactions."""

import os
import sys

import pika
import pika.exceptions

parameters = pika.URLParameters(os.environ["MQPROOF_URL"])
try:
    connection = pika.BlockingConnection(parameters)
except pika.exceptions.AMQPError as error:
    sys.exit(f"no connection: {type(error).__name__}")
channel = connection.channel()
channel.exchange_declare("example", "topic")
channel.exchange_declare("example", "topic")
channel.exchange_declare("example-2", "fanout")
channel.exchange_bind("example-2", "example", "a.#")
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_declare(queue, passive=True)
channel.queue_bind(queue, "example", "a.*")
channel.queue_bind("", "example", "b.*")
channel.confirm_delivery()
for number in range(20):
    channel.basic_publish("example", "a.b", b"message %d" % number, mandatory=True)
for method, _, _ in channel.consume(queue, inactivity_timeout=0.2):
    if method is None:
        break
    channel.basic_ack(method.delivery_tag)
channel.cancel()
tag = channel.basic_consume(queue, lambda *arguments: None, exclusive=True, consumer_tag="mine")
channel.basic_cancel(tag)
channel.basic_publish("example", "a.c", b"for get")
method, _, body = channel.basic_get(queue)
channel.basic_nack(method.delivery_tag, requeue=False)
transacted = connection.channel()
transacted.tx_select()
transacted.basic_publish("", queue, b"x" * 300_000)
transacted.tx_commit()
transacted.tx_rollback()
transacted.close()
connection.process_data_events(3)  # idle for longer than a heartbeat
channel.queue_unbind(queue, "example", "a.*")
channel.queue_unbind("", "example", "b.*")
channel.queue_purge("")
channel.exchange_unbind("example-2", "example", "a.#")
channel.queue_delete(queue, if_unused=True)
channel.exchange_delete("example", if_unused=True)
channel.exchange_delete("example-2")
connection.close()
