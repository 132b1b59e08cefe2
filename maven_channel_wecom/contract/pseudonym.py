"""A person in a log field, under another name unless the host says otherwise."""

from typing import Self


class Pseudonym(str):
    """Text that stands for the id of a person or a chat.

    Whoever prints, compares, encodes or copies it has the text and never the id. A host whose operator wants to see ids
    calls `reveal`.
    """

    __slots__ = ("_stands_for",)

    _stands_for: str

    def __new__(cls, text: str, stands_for: str) -> Self:
        """Return `text`, standing for an id."""
        pseudonym = super().__new__(cls, text)
        pseudonym._stands_for = stands_for
        return pseudonym

    def reveal(self) -> str:
        """Return the id."""
        return self._stands_for

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)
