"""A registration: does handing the e-mail to a queue make the caller's response fast?

Each user registers at a steady pace. One registration in ten sends the e-mail itself (the work is simulated), the
others publish a task for it; workers take the tasks. Compared is what the caller waits for. Each user waits for the
broker's answer before it goes on (a closed loop).

Also a plain Locust file: ``locust -f welcome_email.py -H amqp://guest:guest@localhost --headless -u 10 -t 10s``.
"""

import time
from typing import Any, ClassVar

import gevent
from gevent.pool import Group
from locust import User, constant_pacing, events, task
from mqproof.harness.ledger import GONE, UNCONFIRMED
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.silence import why_nothing_came
from mqproof.loadtests.links import FAILURES, AmqpLink, MqttLink, Refused, give_up, sleep, told
from mqproof.loadtests.scenarios.figures import figure
from mqproof.loadtests.settings import Settings

SYNCHRONOUS, QUEUED = "register, e-mail sent by the caller", "register, e-mail queued"
DRAIN = 15.0  # seconds for what is still under way when the users have stopped


class WelcomeEmail:
    """The scenario's queue (or topic), its workers and its book."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.book = Book()
        self._names = Names(settings.prefix)
        self._place = self._names("welcome-email")
        self._clients = 0
        self._links: list[AmqpLink | MqttLink] = []
        self._workers = Group()
        self._is_amqp = settings.target.protocol == "amqp"
        self.is_closing = False
        self.under_way = 0  # publishes that wait for the broker
        self.broken = ""  # why the broker could not be loaded, or no longer
        self._living = 0  # workers

    def connect(self) -> AmqpLink | MqttLink:
        """Return a new connection. Raises Broken."""
        self._clients += 1
        try:
            if self._is_amqp:
                return AmqpLink(self.settings, self._place)
            return MqttLink(self.settings, self._place, self._names.client_id("w", self._clients))
        except FAILURES as error:
            raise told(error) from None

    def start(self) -> None:
        """Make the queue and start the workers: subscriptions stand before the first message is published.

        Raises Broken.
        """
        first = self.connect()
        self._links = [first]
        try:
            if isinstance(first, AmqpLink):
                first.declare()
            else:
                first.subscribe()
        except FAILURES as error:
            raise told(error) from None
        if self._is_amqp:
            self._links += [self.connect() for _ in range(self.settings.workers - 1)]
        links = self._links if self._is_amqp else self._links * self.settings.workers
        self._living = len(links)
        for number, link in enumerate(links):
            self._workers.spawn(self._work, link, f"worker {number}")
        sleep(0)  # lets the workers begin to consume
        self.book.started = time.monotonic()

    def _work(self, link: AmqpLink | MqttLink, name: str) -> None:
        consumer = name if self._is_amqp else "subscriber"  # the workers of MQTT share one subscription and its order

        def handle(payload: bytes, redelivered: bool) -> None:
            self.book.delivered(consumer, payload, redelivered=redelivered)
            sleep(self.settings.work)

        try:
            link.work(handle)
        except FAILURES as error:
            self.book.failed(told(error))
            self._living -= 1
            if not self._living:
                self._break(f"no worker is left: {told(error)}")

    def _break(self, reason: str) -> None:
        """Note why the broker is of no use any more: what is missing now is nobody's promise."""
        self.broken = self.broken or reason
        self.book.ledger.excuse_route(GONE, "")

    def figures(self) -> list[dict[str, Any]]:
        """Return what the caller waits for, with the e-mail sent by itself and with a queue."""
        found: list[dict[str, Any]] = []
        for name in (SYNCHRONOUS, QUEUED):
            median = self.book.latency(name).at(50)
            found += figure(f"{name}, median", median / 1000 if median is not None else None, "ms")
        return found

    def close_counter(self) -> None:
        """Let nobody publish any more, and wait for those who do: Locust would cut them off in mid-publish."""
        self.is_closing = True
        until = time.monotonic() + DRAIN
        while self.under_way and time.monotonic() < until:
            sleep(0.01)
        self.book.stopped = time.monotonic()  # here and not in stop(): Locust takes seconds to end its users

    def stop(self) -> None:
        """Wait until every message has arrived, or no longer; then remove everything."""
        until = time.monotonic() + DRAIN
        while self.book.ledger.outstanding and time.monotonic() < until and not self.broken:
            sleep(0.05)
        if self.book.ledger.outstanding or self.broken:
            self._look_again()
        for link in self._links if self._is_amqp else self._links * self.settings.workers:
            link.ask_to_stop()
        self._workers.join(timeout=DRAIN)
        self._workers.kill(timeout=1)
        try:
            self._remove()
        except FAILURES as error:
            self.book.failed(told(error))
        closing = Group()
        for link in self._links:
            closing.spawn(give_up, link)
        closing.join()

    def _look_again(self) -> None:
        """Find out why messages are missing, before the broker is said to have lost them."""
        try:
            give_up(self.connect())
        except FAILURES as error:
            self.broken = ""  # this says more
            self._break(f"after {time.monotonic() - self.book.started:.0f} s the broker is gone: {told(error)}")
        if self.broken:
            self._break(self.broken)  # also what was published since
        else:
            self.broken = why_nothing_came(self.book, self.settings.target.protocol)

    def _remove(self) -> None:
        janitor = self.connect() if self._is_amqp else None
        if isinstance(janitor, AmqpLink):
            janitor.delete()
            give_up(janitor)


class Caller(User):
    """One user of the application."""

    scenario: ClassVar[WelcomeEmail]

    def wait_time(self) -> float:
        """Keep the pace that the settings ask for."""
        pace: float = constant_pacing(1 / self.scenario.settings.rate)(self)
        return pace

    def on_start(self) -> None:
        """Connect."""
        self.publisher = self.scenario.book.publisher()
        self.link: AmqpLink | MqttLink | None = None
        self._connect()

    def _connect(self) -> None:
        try:
            self.link = self.scenario.connect()
        except FAILURES as error:
            self.scenario.book.failed(error)

    def on_stop(self) -> None:
        """Close the connection."""
        if self.link is not None:
            give_up(self.link)

    @task(1)
    def register_synchronously(self) -> None:
        """Send the e-mail while the caller waits."""
        begun = time.perf_counter()
        sleep(self.scenario.settings.work)
        self._report(SYNCHRONOUS, time.perf_counter() - begun, None)

    @task(9)
    def register_queued(self) -> None:
        """Publish a task, and answer as soon as the broker has taken it."""
        if self.scenario.is_closing:
            return
        if self.link is None:
            self._connect()
            return
        begun = time.perf_counter()
        self.scenario.under_way += 1
        try:
            error = self._publish(self.link)
        finally:
            self.scenario.under_way -= 1
        self._report(QUEUED, time.perf_counter() - begun, error)

    def _publish(self, link: AmqpLink | MqttLink) -> Exception | None:
        """Publish and return what went wrong; without an answer the message may have reached the broker or not."""
        sequence, payload = self.publisher.next_payload(self.scenario.settings.payload)
        is_answered = False
        try:
            if link.publish(payload):
                self.publisher.confirmed(sequence)
            is_answered = True
        except Refused as refused:
            self.publisher.refused(sequence)
            is_answered = True
            return refused
        except FAILURES as failure:
            self.link = None
            gevent.spawn(give_up, link)
            return told(failure)
        finally:
            if not is_answered:
                self.scenario.book.ledger.excuse(UNCONFIRMED, self.publisher.number, sequence, sequence + 1)
        return None

    def _report(self, name: str, seconds: float, error: Exception | None) -> None:
        if error is None:
            self.scenario.book.record(name, seconds)
        else:
            self.scenario.book.failed(error)
        self.environment.events.request.fire(
            request_type=self.scenario.settings.target.protocol.upper(), name=name, response_time=seconds * 1000,
            response_length=0, exception=error, context={},
        )  # fmt: skip


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Any, **_: Any) -> None:
    """As a plain Locust file: the target is Locust's host."""
    if not hasattr(environment, "mqproof"):
        Caller.scenario = environment.mqproof = WelcomeEmail(Settings("welcome-email", environment.host or ""))
        Caller.scenario.start()


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _end(environment: Any, **_: Any) -> None:
    """Drain after the users have stopped; the balance goes to Locust's log."""
    scenario: WelcomeEmail | None = getattr(environment, "mqproof", None)
    if scenario is not None and scenario.settings.url == environment.host:
        import logging

        gevent.spawn(scenario.stop).join()
        logging.getLogger(__name__).info("ledger: %s", scenario.book.ledger.findings().plain())


PARTS = (WelcomeEmail, Caller)  # a tuple, because Locust takes every class of this module for a user
