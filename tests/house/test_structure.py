"""The structure of the package: what a file holds, what names mean, where the tests of a module are."""

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
    small_modules_with_one_importer,
    sources,
)

TESTS = ROOT / "tests"

PART_LINES = 20
"""A part of a file counts from this length on. Lower: a helper beside a class is a file of its own. Higher: two
subjects share a file unnoticed."""

MAX_CODE_LINES = 500
"""A longer file needs a reason. Lower: a subject is cut where it could be, not where it should be."""

TWO_PARTS = {
    "doctor/examination.py": "one examination: what concerns the host, and what concerns a channel",
    "doctor/url_check.py": "one URL check: how it is sealed, and how its answer is judged",
    "host/plugins.py": "what the host does with plugins: it finds them, and asks them about configurations",
    "protocol/cipher.py": "one cipher: its key, and what is done with it",
    "protocol/media.py": "what WeCom says about a media item: its bytes, and its name",
    "simulator/callbacks.py": "one callback: what is in it, and how it is sealed",
    "state/redis/address.py": "one address: what is wrong with it, and its parts",
    "state/store.py": "the state as others see it: what it does, and how long it is waited for when it is away",
}
"""Files whose parts never mention each other, each with the subject that they share."""

LONG: dict[str, str] = {}
"""Files above MAX_CODE_LINES, each with its reason."""

SAME_NAME = {
    "Answer": "of a URL check, as the doctor sees it, and of the callback port",
    "Mixed": "WeCom's word: a message as it is read, and as the simulator makes it",
    "Text": "WeCom's word: a message as it is read, and as the simulator makes it",
}
"""Names of classes and public constants that two modules may share, each with the reason."""

TESTED_ELSEWHERE = {
    "doctor/examination.py": "tests/doctor/test_command.py: what it puts together is what the command prints",
    "doctor/keeping.py": "tests/doctor/test_checks.py: reads what the checks judge",
    "doctor/proxy_probe.py": "tests/doctor/test_checks.py: reads what the checks judge",
    "errors.py": "what each module raises is tested where it is raised",
    "host/agents/agent.py": "a protocol, and the sentences that tests/host/test_bus.py hears",
    "host/agents/failures.py": "tests/host/agents/test_responses.py: each failure comes from an agent",
    "host/agents/responses_answer.py": "tests/host/agents/test_responses.py: each answer comes from an agent",
    "host/agents/responses_request.py": "tests/host/agents/test_responses.py: each request reaches an agent",
    "host/process_metrics.py": "tests/host/test_status_server.py, which exposes them",
    "plugin.py": "tests/test_channel.py and tests/e2e: hooks are called as a host calls them",
    "simulator/demo_gateway.py": "tests/simulator/test_demo.py",
    "simulator/demo_scenes.py": "tests/simulator/test_demo.py",
    "simulator/media.py": "tests/simulator/test_wecom.py: the simulator is tested as one program",
    "simulator/media_faults.py": "tests/simulator/test_faults.py",
    "simulator/replies.py": "tests/simulator/test_wecom.py: the simulator is tested as one program",
    "simulator/sending.py": "tests/simulator/test_callbacks.py",
    "state/redis/scripts.py": "tests/state/redis/test_store.py: every script is a step of the store",
}
"""Modules without a test file of their own name, each with where it is tested or why it is not."""


def test_a_file_is_about_one_thing() -> None:
    """Definitions that never mention each other, directly or through others, belong in files of their own."""
    found = {path: long_parts(source) for path, source in sources().items() if path not in TWO_PARTS}
    assert {path: each for path, each in found.items() if len(each) > 1} == {}


def test_a_long_file_has_a_reason() -> None:
    lengths = {path: code_lines(source) for path, source in sources().items()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_CODE_LINES and path not in LONG} == {}


def test_a_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path, source in sources().items():
        for name in [*classes(source), *public_constants(source)]:
            places[name].append(path)
    assert {name: each for name, each in places.items() if len(each) > 1 and name not in SAME_NAME} == {}


def test_tests_mirror_the_source() -> None:
    """Every module with behavior of its own has its tests where its name leads."""
    missing = [
        f"tests/{mirror(path)}"
        for path, source in sources().items()
        if behaves(source) and path not in TESTED_ELSEWHERE and not (TESTS / mirror(path)).exists()
    ]
    assert missing == []


def test_no_exception_is_left_over() -> None:
    """Who cures one takes it off its list."""
    texts = sources()
    names = [name for source in texts.values() for name in [*classes(source), *public_constants(source)]]
    left_over = {
        "TWO_PARTS": [path for path in TWO_PARTS if len(long_parts(texts.get(path, ""))) < 2],
        "LONG": [path for path in LONG if code_lines(texts.get(path, "")) <= MAX_CODE_LINES],
        "SAME_NAME": [name for name in SAME_NAME if names.count(name) < 2],
        "TESTED_ELSEWHERE": [path for path in TESTED_ELSEWHERE if path not in texts or (TESTS / mirror(path)).exists()],
    }
    assert {name: each for name, each in left_over.items() if each} == {}


def long_parts(source: str) -> list[Part]:
    return [part for part in parts(source) if part.lines >= PART_LINES]


def mirror(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/test_{name}".removeprefix("/")


TWO_SUBJECTS = """
LIMIT = 3
\"\"\"How many.\"\"\"

def take(items):
    return items[:LIMIT]

class Lamp:
    def on(self): ...

def light() -> "Lamp":
    return Lamp()
"""


def test_parts_are_what_never_mentions_each_other() -> None:
    assert [(part.names, part.lines) for part in parts(TWO_SUBJECTS)] == [
        (("LIMIT", "take"), 4),
        (("Lamp", "light"), 4),
    ]


def test_parts_are_joined_through_others() -> None:
    assert [part.names for part in parts(TWO_SUBJECTS + "shown = take, light")] == [
        ("LIMIT", "take", "Lamp", "light", "shown")
    ]


def test_a_logger_joins_nothing() -> None:
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


def test_code_is_neither_blank_nor_comment_nor_docstring() -> None:
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
def test_behavior_is_a_body_that_does_something(source: str, *, expected: bool) -> None:
    assert behaves(source) is expected


def test_a_small_module_with_one_importer_is_a_hint() -> None:
    assert all(" is imported by " in hint for hint in small_modules_with_one_importer())
