"""Reads the operator's configuration, and checks it as the gateway does, except for the secrets of its channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.config import KEYS
from maven_channel_wecom.host.document import read_document
from maven_channel_wecom.host.gateway import configuration_problems
from maven_channel_wecom.host.logs import printable
from maven_channel_wecom.playground.gateway_document import is_bot
from maven_channel_wecom.simulator.keys import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from pathlib import Path

_SECRETS: Final = frozenset(key.name for key in KEYS if key.type == "secret")


class WrongConfiguration(Exception):
    """The gateway would refuse the file. The text names the file, and has a line for each problem."""


def read_own_file(path: Path) -> object:
    """Return the JSON value of a configuration without problems.

    Raises:
        UnreadableConfiguration: the file cannot be read or is not JSON.
        WrongConfiguration: it has problems.
    """
    document = read_document(path)
    if problems := configuration_problems(_with_secrets(document)):
        lines = "".join(f"\n  - {printable(problem)}" for problem in problems)
        text = f"{path} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:{lines}"
        raise WrongConfiguration(text)
    return document


def _with_secrets(document: object) -> object:
    """Return a configuration whose bots have generated secrets, because the real ones are not used and may be unset."""
    match document:
        case {"channels": dict() as channels, **rest}:
            entries = {name: _with_own(entry) if is_bot(name, entry) else entry for name, entry in channels.items()}
            return {**rest, "channels": entries}
    return document


def _with_own(entry: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in entry.items() if key not in _SECRETS}
    return {**rest, "token": new_token(), "encodingAESKey": new_encoding_aes_key()}
