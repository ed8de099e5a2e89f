"""One exchange (section 3.1.3): its type, its bindings, and where it sends a message next."""

from collections.abc import Iterable, Mapping
from typing import Any

from mqproof.harness.reference.amqp.arguments import alternate_exchange
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.routing import MATCHERS, Binding, Defective, check_headers_arguments, faultless


class Exchange:
    """An exchange. ``incoming``: the bindings that bring it messages from other exchanges."""

    def __init__(
        self,
        name: str,
        type_: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Mapping[str, Any] | None = None,
        defective: Defective = faultless,
    ) -> None:
        if type_ not in MATCHERS:
            raise Refusal(503, f"unknown exchange type {type_!r}")  # rule exchange.declare.type/support
        self.name = name
        self.type = type_
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = dict(arguments or {})
        self.alternate = alternate_exchange(self.arguments)
        self.bindings: dict[tuple[Any, str, bytes], Binding] = {}
        self._matcher = MATCHERS[type_](defective)

    def bind(self, binding: Binding) -> bool:
        """Take a binding; False when the same one is there already (rules queue.bind/duplicates, exchange.bind/…)."""
        if self.type == "headers":
            check_headers_arguments(binding.arguments)
        if binding.identity in self.bindings:
            return False
        self.bindings[binding.identity] = binding
        self._matcher.add(binding)
        return True

    def unbind(self, identity: tuple[Any, str, bytes]) -> Binding | None:
        """Forget a binding and return it, or None when there is no such binding."""
        binding = self.bindings.pop(identity, None)
        if binding is not None:
            self._matcher.remove(binding)
        return binding

    def match(self, routing_keys: Iterable[str], message: Message) -> list[Any]:
        """Return the destinations (queues and exchanges) for a message under any of the keys, possibly repeated."""
        return [found for key in routing_keys for found in self._matcher.match(key, message.headers)]
