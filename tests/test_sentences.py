"""Tests for the catalogue of texts that people in a chat read, and that there are none outside of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from maven_channel_wecom import sentences
from maven_channel_wecom.sentences import Sentence
from tests.house.structure import sources

CATALOGUE = {name: each for name, each in vars(sentences).items() if isinstance(each, Sentence)}
HAN = re.compile(r"[\u4e00-\u9fff]")

OPERATORS_CHINESE = {
    "cli.py",
    "config.py",
    "file_schema.py",
    "settings.py",
    "host/configuration.py",
    "host/sessions.py",
    "sentences.py",
}
"""Files with Chinese texts: the catalogue, the name of WeCom, the titles and descriptions of configuration keys, and a
command that people write."""

NOT_THE_CHANNEL = ("simulator/", "doctor/", "playground/", "setup/")
"""Folders whose texts no person in a chat reads."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_text_exists_in_both_languages(name: str) -> None:
    each = CATALOGUE[name]
    assert HAN.search(each.zh)
    assert not HAN.search(each.en)
    assert re.findall(r"{\w+}", each.zh) == re.findall(r"{\w+}", each.en)


def test_any_word_but_zh_is_english() -> None:
    sentence = Sentence(zh="你好", en="hello")
    assert [sentence.text(language) for language in ("zh", "en", "fr", "")] == ["你好", "hello", "hello", "hello"]


def test_every_text_is_used() -> None:
    code = "".join(source for path, source in sources().items() if path != "sentences.py")
    assert [name for name in CATALOGUE if not re.search(rf"\b{name}\b", code)] == []


def literals(source: str) -> list[str]:
    """Return the texts in a module's code, without docstrings."""
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
    ]


def test_no_other_module_holds_a_chinese_text() -> None:
    """Texts for the chat have to be Chinese, too, so that a text outside the catalogue shows by its Chinese."""
    found = {
        path
        for path, source in sources().items()
        if not path.startswith(NOT_THE_CHANNEL) and any(HAN.search(text) for text in literals(source))
    }
    assert found <= OPERATORS_CHINESE


SENDERS = {"Failure", "OutboundMessage", "AgentError"}
"""Classes that carry a text to a person: no literal sentence may be passed to them."""


def texts_to_people(source: str) -> list[str]:
    """Return the literal sentences that a module passes to something that carries a text to a person."""
    calls = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SENDERS
    )
    arguments = ((*call.args, *(keyword.value for keyword in call.keywords)) for call in calls)
    return [
        text
        for each in arguments
        for argument in each
        for text in _literals_in(argument)
        if re.search("[A-Za-z] ", text)
    ]


def _literals_in(argument: ast.expr) -> list[str]:
    return [node.value for node in ast.walk(argument) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_no_module_passes_a_literal_sentence_to_a_person() -> None:
    assert {path: found for path, source in sources().items() if (found := texts_to_people(source))} == {}


@pytest.mark.parametrize("call", ['Failure("x", "It failed.")', 'OutboundMessage(content=f"It {failed} again.")'])
def test_a_literal_sentence_is_found(call: str) -> None:
    assert texts_to_people(call)


def test_the_agents_return_no_text_of_their_own_to_the_chat() -> None:
    """The failure sentences of agents and host are English nowhere but in the catalogue."""
    folder = Path(sentences.__file__).parent / "host"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    assert not re.search("please (try again|tell)", code)
