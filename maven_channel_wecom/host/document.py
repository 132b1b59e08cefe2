"""The configuration file as a JSON value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UnreadableConfiguration(Exception):
    """The file cannot be read, or is not JSON. The text is one sentence."""


def read_document(path: Path) -> object:
    """Return the JSON value in a file.

    Raises:
        UnreadableConfiguration: There is no such file, it may not be read, or it is not JSON.
    """
    try:
        document: object = json.loads(path.read_bytes().decode("utf-8-sig"), parse_constant=_refuse_constant)
        # What JSON can escape and no name, path or header can hold.
        json.dumps(document, ensure_ascii=False).encode()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: see byte {error.start}"
    except json.JSONDecodeError as error:
        reason = (
            f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}; "
            "look there and just before it for a comma or a quote too many or too few"
        )
    except UnicodeEncodeError:
        reason = r"holds half a character: one of \ud800 to \udfff without its other half"
    except (ValueError, RecursionError):
        reason = "is not JSON that can be read: it holds an endless number or is nested too deep"
    else:
        return document
    sentence = f"the configuration {path} {reason}"
    raise UnreadableConfiguration(sentence)


def _refuse_constant(_name: str) -> float:
    raise ValueError
