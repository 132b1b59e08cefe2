"""A resolver that returns the addresses given by the test, and records the names it was asked for."""

from __future__ import annotations

import socket
from itertools import cycle
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Names(AbstractResolver):
    """Returns the answers of each name in rotation, each a list of addresses. `*` stands for every other name."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: cycle(rotation) for name, rotation in answers.items()}
        self.asked: list[str] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        rotation = self._answers.get(host) or self._answers.get("*")
        if rotation is None:
            raise socket.gaierror(socket.EAI_NONAME, f"no such name: {host}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in next(rotation)
        ]

    async def close(self) -> None:
        self.closed = True
