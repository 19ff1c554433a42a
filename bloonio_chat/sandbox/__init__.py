"""A relay to have on one's desk: for development and for tests, never for production."""

from bloonio_chat.sandbox.relay import SandboxRelay

__all__ = ["SandboxRelay"]
