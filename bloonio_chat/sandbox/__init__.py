"""A relay for development and tests, on the loopback interface: ``with SandboxRelay() as relay: …``.

Stateful, over real HTTP, as strict as the relay's protocol, and with faults on demand; see ``docs/sandbox.md``. Needs
the extra ``sandbox``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bloonio_chat.sandbox.clock import Clock as Clock
    from bloonio_chat.sandbox.refusals import Refusal as Refusal
    from bloonio_chat.sandbox.relay import SandboxRelay as SandboxRelay

__all__ = ["Clock", "Refusal", "SandboxRelay"]


def __getattr__(name: str) -> Any:
    # Late, so that the commands can say which extra is missing before werkzeug is asked for.
    if name == "SandboxRelay":
        from bloonio_chat.sandbox.relay import SandboxRelay

        return SandboxRelay
    if name == "Clock":
        from bloonio_chat.sandbox.clock import Clock

        return Clock
    if name == "Refusal":
        from bloonio_chat.sandbox.refusals import Refusal

        return Refusal
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
