"""What the server hands requests to, and the request it hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.server.answer import Answer


class Request:
    """One whole request to the callback path.

    Attributes:
        method: `GET` or `POST`. HEAD is handed on as GET, and the body of its answer left out.
        query: what stood behind `?`, raw; empty without.
        body: the whole body, at most BODY_BYTES.
    """

    __slots__ = ("_respond", "body", "method", "query")

    def __init__(self, method: str, query: bytes, body: bytes, respond: Callable[[Answer], None]) -> None:
        self.method = method
        self.query = query
        self.body = body
        self._respond: Callable[[Answer], None] | None = respond

    def answer(self, answer: Answer) -> None:
        """Answer, exactly once, at any time, from the event loop. The caller may have left.

        Raises:
            RuntimeError: the request was answered before.
        """
        respond, self._respond = self._respond, None
        if respond is None:
            message = "a request is answered once"
            raise RuntimeError(message)
        respond(answer)


class Receiver(Protocol):
    """Answers the requests to the callback path. What a caller sends makes no method raise."""

    def check_head(self, method: str, query: bytes) -> Answer | None:
        """Judge a request by its head, before its body is asked for.

        Returns:
            The answer that refuses the request, whose body is not read; None if the body is wanted.
        """
        ...

    def receive(self, request: Request) -> None:
        """Take a whole request, and have it answered now or later."""
        ...
