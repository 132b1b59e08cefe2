"""Refuses requests that other web pages cause: DNS rebinding, cross-site requests, and foreign content in the page."""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

TOKEN_HEADER: Final = "X-Playground-Token"  # noqa: S105 - the name of a header

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every answer. Nothing is loaded from other addresses, and no script or style stands in the page."""


class Guard:
    """Checks every request before it is handled.

    Args:
        host: the name or address that the server listens on.

    Attributes:
        token: what a POST must carry in TOKEN_HEADER. The page contains it, and other sites cannot read the page.
    """

    def __init__(self, host: str) -> None:
        self.token = secrets.token_urlsafe(24)
        self._names = {"localhost", host.lower()}

    def install(self, app: web.Application) -> None:
        """Let an application answer only what is checked, with HEADERS."""
        app.middlewares.append(self._check)
        app.on_response_prepare.append(_add_headers)

    def is_own_host(self, host: str) -> bool:
        """Return whether a Host header names this server.

        An address is no name that another site's DNS could let point here.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def is_own_post(self, request: web.Request) -> bool:
        """Return whether a POST comes from the page that this server gave out."""
        origin = request.headers.get("Origin", "")
        token = request.headers.get(TOKEN_HEADER, "")
        return origin == f"http://{request.host}" and secrets.compare_digest(token.encode(), self.token.encode())

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.is_own_host(request.host):
            return web.Response(status=421, text="The playground is reached by its address or as localhost.\n")
        if request.method not in {"GET", "HEAD"} and not self.is_own_post(request):
            return web.Response(status=403, text="Only the playground's own page may send.\n")
        return await handler(request)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
