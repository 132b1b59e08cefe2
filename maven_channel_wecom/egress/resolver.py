"""Name lookup without forbidden answers. Literal addresses never come here: aiohttp asks no resolver for them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from maven_channel_wecom.egress.reasons import ForbiddenAddress, NameUnresolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import ResolveResult


class FilteringResolver(AbstractResolver):
    """Looks names up with `names` and returns the answers that are not forbidden."""

    def __init__(self, names: AbstractResolver, is_forbidden: Callable[[str], bool]) -> None:
        self._names = names
        self._is_forbidden = is_forbidden

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look up a name.

        Raises:
            NameUnresolved: there is no answer.
            ForbiddenAddress: there are only forbidden answers.
        """
        try:
            answers = await self._names.resolve(host, port, family)
        except (OSError, UnicodeError):
            answers = []
        if not answers:
            raise NameUnresolved
        allowed = [answer for answer in answers if not self._is_forbidden(answer["host"])]
        if not allowed:
            raise ForbiddenAddress
        return allowed

    async def close(self) -> None:
        """Close `names`."""
        await self._names.close()
