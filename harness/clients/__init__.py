"""Real client libraries (pika, paho) as an application uses them."""
