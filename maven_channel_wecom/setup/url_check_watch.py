"""Says what WeCom's URL check brought, from the log lines of the gateway."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REMINDER_SECONDS: Final = 60.0
"""Lower: the hint comes while the operator still fills in the console. Higher: it comes later than they wonder."""

_STARTED: Final = "gateway channels started"
_CHECKED: Final = "wecom callback url checked"
_REJECTED: Final = frozenset({"wecom callback rejected", "wecom request rejected"})
_PROXY_SPEAKS: Final = "a request that is not plain HTTP/1.1 arrived: set the reverse proxy to http:// and HTTP/1.1"
_CAUSES: Final = {
    "signature": "a request is signed with another token: compare Token in the console with WECOM_TOKEN in secrets.env",
    "undecipherable": "the Token is right, but EncodingAESKey in the console differs from WECOM_ENCODING_AES_KEY in"
    " secrets.env",
    "path": "a request for another path arrived: the URL in the console and your reverse proxy must keep {path}",
    "xml": "the URL was entered for a self-built app (自建应用), not for an AI bot (智能机器人) in API mode",
    "tls": _PROXY_SPEAKS,
    "http2": _PROXY_SPEAKS,
    "proxy_protocol": _PROXY_SPEAKS,
}
_OTHER_CAUSE: Final = "a request was rejected, reason {reason}: docs/operations.md explains it"


class UrlCheckWatch(logging.Handler):
    """A log handler that prints when the URL check passed, or once for each reason why it did not.

    Args:
        print_line: prints one line.
        path: the path of the callback URL.
        hint: what to do if no request arrives.
        reminder_seconds: how long after the gateway's start the hint is printed.
    """

    def __init__(
        self, print_line: Callable[[str], None], *, path: str, hint: str, reminder_seconds: float = REMINDER_SECONDS
    ) -> None:
        super().__init__(logging.INFO)
        self._print_line = print_line
        self._path = path
        self._hint = hint
        self._reminder_seconds = reminder_seconds
        self._told: set[str] = set()
        self._passed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record of the gateway, in its event loop."""
        text = record.getMessage()
        if self._passed:
            return
        if text == _STARTED:
            asyncio.get_running_loop().call_later(self._reminder_seconds, self._remind)
            self._print_after_the_log("Now save (保存) in the console; this waits for the URL check.")
        elif text == _CHECKED:
            self._passed = True
            # The doctor asks as the console does, and nothing in its request tells them apart.
            self._print_after_the_log("A URL check passed. If it was the console's, write to the bot now.")
        elif text in _REJECTED:
            self._tell(str(getattr(record, "fields", {}).get("reason", "")))

    def _tell(self, reason: str) -> None:
        # Scanners find every public port, so each reason is told once.
        if reason not in self._told:
            self._told.add(reason)
            cause = _CAUSES.get(reason, _OTHER_CAUSE).replace("{path}", self._path).replace("{reason}", reason)
            self._print_after_the_log(f"No URL check passed yet: {cause}.")

    def _print_after_the_log(self, line: str) -> None:
        # The gateway writes a record in the iteration of the loop after this one.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._print_line, line)

    def _remind(self) -> None:
        if not self._passed and not self._told:
            self._print_line(f"No request arrived within {self._reminder_seconds:g} s. {self._hint}")
