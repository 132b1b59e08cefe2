"""A resolver that removes forbidden addresses. It never sees literal addresses: aiohttp resolves only names."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from maven_channel_wecom.egress.reasons import ForbiddenAddress, NameUnresolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import ResolveResult


class FilteringResolver(AbstractResolver):
    """Resolves names with another resolver, and returns the addresses that are not forbidden."""

    def __init__(self, resolver: AbstractResolver, is_forbidden: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._is_forbidden = is_forbidden

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises:
            NameUnresolved: the name has no address.
            ForbiddenAddress: every address of the name is forbidden.
        """
        try:
            answers = await self._resolver.resolve(host, port, family)
        except (OSError, UnicodeError):
            answers = []
        if not answers:
            raise NameUnresolved
        allowed = [answer for answer in answers if not self._is_forbidden(answer["host"])]
        if not allowed:
            raise ForbiddenAddress
        return allowed

    async def close(self) -> None:
        """Close the wrapped resolver."""
        await self._resolver.close()
