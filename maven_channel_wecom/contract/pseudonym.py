"""The text that replaces the id of a person or a chat in log fields."""

from typing import Self


class Pseudonym(str):
    """A pseudonym for the id of a person or a chat.

    Printing, comparing, encoding or copying it yields the pseudonym, never the id. A host whose operator wants ids in
    its log calls `reveal`.
    """

    __slots__ = ("_stands_for",)

    _stands_for: str

    def __new__(cls, text: str, stands_for: str) -> Self:
        """Return the pseudonym `text` for the id `stands_for`."""
        pseudonym = super().__new__(cls, text)
        pseudonym._stands_for = stands_for
        return pseudonym

    def reveal(self) -> str:
        """Return the id."""
        return self._stands_for

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)
