"""Tests of the package's structure: one subject for each file, unique names, and a test file for each module."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.house.structure import (
    ROOT,
    Part,
    behaves,
    classes,
    code_lines,
    parts,
    public_constants,
    public_types,
    small_modules_with_one_importer,
    sources,
)

TESTS = ROOT / "tests"

PART_LINES = 20
"""Minimum length of a part that counts as a subject, in lines. Lower: a small helper needs its own file. Higher: two
subjects can share a file without anyone noticing."""

MAX_CODE_LINES = 500
"""Maximum length of a file without a reason in LONG, in lines of code. Lower: files are split only to stay below it."""

TWO_PARTS = {
    "doctor/run_checks.py": "one run of the doctor: checks of the host, and checks of a channel",
    "host/agents/agent.py": "one interface: what an agent is asked and returns, and the error it raises instead",
    "host/plugins.py": "what the host does with plugins: it finds them and checks their configurations",
    "policy/normalization.py": "what other plugins read of a callback: a message, or an event",
    "protocol/cipher.py": "one cipher: its key, and encryption and decryption with it",
    "protocol/media.py": "what WeCom defines about a media item: its encryption and its name",
    "simulator/callbacks.py": "one callback: its content, and how it is sealed",
    "state/redis/address.py": "one address: its problems and its parts",
    "state/store.py": "the interface of the state, and how callers retry while it is unavailable",
}
"""Files whose parts never refer to each other, each with the subject that they share."""

LONG: dict[str, str] = {}
"""Files longer than MAX_CODE_LINES, each with the reason."""

SAME_NAME = {
    "Answer": "a word of the glossary: the HTTP response to a callback, and what the agent says",
    "Event": "WeCom's word, for the one that is read and for those that the simulator builds",
    "Message": "WeCom's word, for the one that is read and for those that the simulator builds",
    "Mixed": "WeCom's word, for the message that is read and for the one that the simulator builds",
    "Text": "WeCom's word, for the message that is read and for the one that the simulator builds",
}
"""Names of classes, types and public constants that two modules may share, each with the reason."""

TESTED_IN = {"__init__.py": "test_cli.py", "__main__.py": "test_terminal.py"}
"""Files whose names are no subject, each with the file of their tests."""


def test_a_file_has_one_subject() -> None:
    """Definitions that never refer to each other, directly or indirectly, belong in separate files."""
    found = {path: long_parts(source) for path, source in sources().items() if path not in TWO_PARTS}
    assert {path: each for path, each in found.items() if len(each) > 1} == {}


def test_a_long_file_has_a_reason() -> None:
    lengths = {path: code_lines(source) for path, source in sources().items()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_CODE_LINES and path not in LONG} == {}


def test_a_name_has_one_meaning() -> None:
    places = defaultdict(list)
    for path, source in sources().items():
        for name in names(source):
            places[name].append(path)
    assert {name: each for name, each in places.items() if len(each) > 1 and name not in SAME_NAME} == {}


def test_every_module_with_behavior_has_a_test_file_of_its_name() -> None:
    missing = [
        f"tests/{mirror(path)}"
        for path, source in sources().items()
        if behaves(source) and not (TESTS / mirror(path)).exists()
    ]
    assert missing == []


def test_every_listed_exception_is_still_needed() -> None:
    texts = sources()
    all_names = [name for source in texts.values() for name in names(source)]
    left_over = {
        "TWO_PARTS": [path for path in TWO_PARTS if len(long_parts(texts.get(path, ""))) < 2],
        "LONG": [path for path in LONG if code_lines(texts.get(path, "")) <= MAX_CODE_LINES],
        "SAME_NAME": [name for name in SAME_NAME if all_names.count(name) < 2],
    }
    assert {name: each for name, each in left_over.items() if each} == {}


def names(source: str) -> list[str]:
    return [*classes(source), *public_types(source), *public_constants(source)]


def long_parts(source: str) -> list[Part]:
    return [part for part in parts(source) if part.lines >= PART_LINES]


def mirror(path: str) -> str:
    if path in TESTED_IN:
        return TESTED_IN[path]
    folder, _, name = path.rpartition("/")
    return f"{folder}/test_{name}".removeprefix("/")


TWO_SUBJECTS = """
LIMIT = 3
\"\"\"Maximum.\"\"\"

def take(items):
    return items[:LIMIT]

class Lamp:
    def on(self): ...

def light() -> "Lamp":
    return Lamp()
"""


def test_definitions_that_never_refer_to_each_other_are_separate_parts() -> None:
    assert [(part.names, part.lines) for part in parts(TWO_SUBJECTS)] == [
        (("LIMIT", "take"), 4),
        (("Lamp", "light"), 4),
    ]


def test_a_definition_that_refers_to_two_parts_joins_them() -> None:
    assert [part.names for part in parts(TWO_SUBJECTS + "both = take, light")] == [
        ("LIMIT", "take", "Lamp", "light", "both")
    ]


def test_a_shared_logger_joins_no_parts() -> None:
    logging = "def a():\n    logger.info('a')\ndef b():\n    logger.info('b')\n"
    assert [part.names for part in parts(f"logger = logging.getLogger()\n{logging}")] == [("a",), ("b",)]


DOCUMENTED = '''"""Module.

More.
"""

# A reason.
x = (
    1,  # one
)

def f():
    """Doc."""
    return """
text"""
'''


def test_blank_lines_comments_and_docstrings_are_not_lines_of_code() -> None:
    assert code_lines(DOCUMENTED) == 6


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    return 1", True),
        ("class C:\n    def f(self):\n        return 1", True),
        ("class C(Protocol):\n    async def f(self):\n        'Say.'\n        ...", False),
        ("class C:\n    x: int\n    def __repr__(self):\n        return 'C'", False),
        ("X = 1", False),
    ],
)
def test_a_module_has_behavior_if_a_function_body_does_something(source: str, *, expected: bool) -> None:
    assert behaves(source) is expected


def test_hints_name_the_only_importer_of_a_small_module() -> None:
    assert all(" is imported by " in hint for hint in small_modules_with_one_importer())
