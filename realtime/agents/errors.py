"""What can go wrong between an agent and the hub.

AgentError
|-- InvalidSecret    ours: the secret is not the text that the hub printed
|-- Unwelcome        ours: the hub will not have this agent, and asking again will not help
|-- NotConnected     there is no hub right now; the client tries again by itself
'-- NotSaid          the hub did not pass a word on; ``code`` says why, ``retry_after_s`` when again
"""

__all__ = ["AgentError", "InvalidSecret", "NotConnected", "NotSaid", "Unwelcome"]


class AgentError(Exception):
    """Anything that the agent's client raises."""


class InvalidSecret(AgentError, ValueError):
    """The secret is not 32 bytes in base64url without padding. The text itself is not kept."""

    def __str__(self) -> str:
        return "the agent's secret is not the text that the hub printed (base64url of 32 bytes)"


class Unwelcome(AgentError):
    """A wrong secret, a disabled account, or an address that is no hub. ``code`` is the hub's."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"the hub refused: {self.code}" + (f" ({self.message})" if self.message else "")


class NotConnected(AgentError):
    """Not now. ``retry_after_s`` is the hub's wish in seconds, 0 where it has none."""

    def __init__(self, code: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(code)
        self.code, self.retry_after_s = code, retry_after_s

    def __str__(self) -> str:
        return f"not connected: {self.code}"


class NotSaid(AgentError):
    """A word that did not reach anybody."""

    def __init__(self, code: str, message: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(code, message)
        self.code, self.message, self.retry_after_s = code, message, retry_after_s

    def __str__(self) -> str:
        return f"not said: {self.code}" + (f" ({self.message})" if self.message else "")
