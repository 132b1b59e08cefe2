"""Reading the configuration file as JSON, and the sentences about files that are not JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maven_channel_wecom.host.document import UnreadableConfiguration, read_document

UNREADABLE = "is not readable JSON: it contains NaN, Infinity or a number that is too long, or is nested too deeply"
HINT = "; look there and just before it for a missing or extra comma or quote"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{\n  "a": }', "is not JSON: Expecting value at line 2 column 8"),
        (b"", "is not JSON: Expecting value at line 1 column 1"),
        (b'{"a": "\xff"}', "is not UTF-8 text: see byte 7"),
        (b"[" * 200_000, UNREADABLE),
        (b"1" * 5000, UNREADABLE),
        (b'{"a": NaN}', UNREADABLE),
        (rb'{"a": ["\ud800"]}', r"contains half a character: one of \ud800 to \udfff without its other half"),
        (rb'{"\udfff": "\ud83d\ude00"}', r"contains half a character: one of \ud800 to \udfff without its other half"),
        (
            b'{"channels": {"wecom": {}, "wecom": {}}}',
            "contains the key wecom twice in one object: rename or remove one, as only the last would count",
        ),
    ],
    ids=["syntax", "empty", "bytes", "depth", "digits", "nan", "half", "half-a-name", "repeated"],
)
def test_a_file_that_is_not_json_is_reported_in_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableConfiguration) as caught:
        read_document(path)
    assert str(caught.value).removesuffix(HINT) == f"the configuration {path} {reason}"


def test_a_missing_file_or_a_folder_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreadableConfiguration, match=r"cannot be read: No such file or directory$"):
        read_document(tmp_path / "none.json")
    with pytest.raises(UnreadableConfiguration, match=r"cannot be read: Is a directory$"):
        read_document(tmp_path)


def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(UnreadableConfiguration, match=r"^the configuration /dev/zero is larger than 16 MB: "):
        read_document(Path("/dev/zero"))


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    document: dict[str, Any] = {"channels": {}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8-sig")
    assert read_document(path) == document
