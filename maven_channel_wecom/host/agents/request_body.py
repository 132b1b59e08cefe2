"""The JSON of a request, which is encoded as it is sent. No I/O."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_PIECE_CHARACTERS: Final = 64 * 1024


class DataUrl(NamedTuple):
    """A `data:` URL (RFC 2397). `data` is base64, which needs no escaping in JSON."""

    media_type: str
    data: str

    def __repr__(self) -> str:
        return f"<DataUrl of {len(self.data)} characters>"


class RequestBody:
    """The JSON of a request, whose strings may be a DataUrl.

    It is encoded while it is sent: encoding 14 MB of pictures at once would block the event loop and triple the memory.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._parts: list[bytes | str] = []
        encoded = bytearray()
        for fragment in _fragments(request):
            if isinstance(fragment, bytes):
                encoded += fragment
            else:
                self._parts += [bytes(encoded), fragment]
                encoded.clear()
        self._parts.append(bytes(encoded))

    @property
    def size_bytes(self) -> int:
        """The size of the whole body."""
        return sum(len(part) for part in self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, and let other tasks run after each, even if the network accepts all of them at once."""
        for piece in self.pieces():
            yield piece
            await asyncio.sleep(0)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body from beginning to end, media in pieces of 64 KiB."""
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            else:
                for start in range(0, len(part), _PIECE_CHARACTERS):
                    yield part[start : start + _PIECE_CHARACTERS].encode("ascii")


def _fragments(value: object) -> Iterator[bytes | str]:
    """Yield the JSON of a value. A str is base64."""
    match value:
        case DataUrl():
            yield msgspec.json.encode(f"data:{value.media_type};base64,").removesuffix(b'"')
            yield value.data
            yield b'"'
        case dict():
            yield b"{"
            for number, (name, member) in enumerate(value.items()):
                yield b"," * bool(number) + msgspec.json.encode(name) + b":"
                yield from _fragments(member)
            yield b"}"
        case list():
            yield b"["
            for number, item in enumerate(value):
                yield b"," * bool(number)
                yield from _fragments(item)
            yield b"]"
        case _:
            yield msgspec.json.encode(value)
