"""The AMQP 0-9-1 reference broker: the executable reading of the specification, in memory.

Without sockets: :mod:`connection` takes octets and gives octets; it dispatches to one module per AMQP class
(``class_connection``, ``class_exchange``, ``class_queue``, ``class_basic``; ``publishing`` for basic.publish, tx and
confirm), which act on a :mod:`channel` and on the virtual host in :mod:`topology`. :mod:`router` and :mod:`routing` say
where a message goes, :mod:`queue` what becomes of it there. :mod:`server` puts asyncio sockets around it.

Where the text leaves a choice, or says two things, the docstring at the place says which was taken. The rules by which
they were taken: what the text demands of the server goes before what it forbids the client; what it says of the special
case goes before the general; it goes before any extension (:mod:`capabilities` lists the extensions that lost).
"""
