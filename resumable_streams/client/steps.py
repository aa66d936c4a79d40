"""The steps of a conversation with a server. Pure.

A conversation is a generator that yields steps, and gets the outcome of each. It decides; its
driver does the input and output, with blocking calls or on an event loop. So resuming, backing off
and judging answers exist once for the sync and the async client.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

__all__ = [
    "Ask",
    "Content",
    "Conversation",
    "Give",
    "Read",
    "Reply",
    "Step",
    "Talk",
    "Wait",
    "shown",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The body of a request, kept so that it can be sent again."""

    data: bytes = b""
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to be sent; the outcome is a `Reply`.

    With `opens`, the body of a success stays open, for `Read`. Without, it comes with the reply.
    """

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Content | None = None
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the open body; the outcome is bytes, or None after its clean end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Give:
    """An item for the caller."""

    item: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a request with the headers `sent`; an open body is not in `content`."""

    status: int
    headers: httpx.Headers
    url: httpx.URL
    sent: httpx.Headers = field(default_factory=httpx.Headers)
    content: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


Step = Ask | Read | Wait | Give
Conversation = Generator[Step, Any, T]
"""A generator of steps; httpx.TransportError is thrown into it where a request or a read fails."""


class Talk(Generic[T]):
    """A conversation that is being driven: `outcome`, or else `error`, is that of its last step."""

    result: T

    def __init__(self, conversation: Conversation[T]) -> None:
        self._conversation = conversation
        self.outcome: Any = None
        self.error: httpx.TransportError | None = None

    def next(self) -> Step | None:
        """Return the next step; None at the end, when `result` is set."""
        outcome, error = self.outcome, self.error
        self.outcome = self.error = None
        try:
            if error is not None:
                return self._conversation.throw(error)
            return self._conversation.send(outcome)
        except StopIteration as end:
            self.result = end.value
            return None


def shown(url: httpx.URL) -> str:
    """Return an address for messages: without the query, and without a password."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))
