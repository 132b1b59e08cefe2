"""The configuration that follows from the answers about a bot, and which answers are wrong."""

from __future__ import annotations

import msgspec
import pytest

from maven_channel_wecom.setup.answers import Answers
from tests.suite_watch import new_encoding_aes_key, new_token


def answered(**given: object) -> Answers:
    secrets = {"token": new_token(), "encoding_aes_key": new_encoding_aes_key()}
    return msgspec.convert(secrets | given, Answers)


def test_without_answers_the_bot_echoes_and_the_secrets_are_references() -> None:
    answers = answered()
    assert answers.problems() == []
    assert answers.document() == {
        "channels": {
            "wecom": {
                "token": {"env": "WECOM_TOKEN"},
                "encodingAESKey": {"env": "WECOM_ENCODING_AES_KEY"},
                "state": "sqlite:wecom.db",
            }
        }
    }
    assert list(answers.secrets) == ["WECOM_TOKEN", "WECOM_ENCODING_AES_KEY"]
    assert repr(answers) == "<Answers>"


def test_every_answer_has_its_place() -> None:
    answers = answered(
        url="https://bot.example.com/other",
        name="Maven",
        agent_url="http://127.0.0.1:1/v1/responses",
        model="m",
        progress="stream",
        agent_key="canary-agent-key",
        port=1234,
        status_port=1235,
    )
    assert answers.problems() == []
    document = answers.document()
    assert document["agent"] == {
        "type": "responses",
        "url": "http://127.0.0.1:1/v1/responses",
        "model": "m",
        "apiKey": {"env": "AGENT_API_KEY"},
    }
    entry = document["channels"]["wecom"]
    assert (document["gateway"], entry["port"]) == ({"port": 1235}, 1234)
    assert (entry["path"], entry["mentionNames"], entry["progress"]) == ("/other", ["Maven"], "stream")
    assert answers.secrets["AGENT_API_KEY"] == "canary-agent-key"


def test_a_url_of_the_agent_with_a_query_is_a_secret_because_there_may_be_a_key_in_it() -> None:
    answers = answered(agent_url="http://127.0.0.1:1/v1/responses?key=canary", model="m")
    assert answers.problems() == []
    assert answers.document()["agent"] == {"type": "responses", "url": {"env": "AGENT_URL"}, "model": "m"}
    assert answers.secrets["AGENT_URL"] == "http://127.0.0.1:1/v1/responses?key=canary"


def test_the_url_of_the_agent_tells_its_type() -> None:
    for end in ("", "/", "?api-version=1"):
        answers = answered(agent_url=f"http://127.0.0.1:1/v1/chat/completions{end}", model="m")
        assert answers.problems() == []
        assert answers.document()["agent"]["type"] == "chat-completions"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("https://bot.example.com", "https://bot.example.com/wecom/bot"),
        ("https://bot.example.com:8443/", "https://bot.example.com:8443/wecom/bot"),
        ("https://bot.example.com/other", "https://bot.example.com/other"),
    ],
)
def test_a_url_without_a_path_gets_the_default_path(url: str, shown: str) -> None:
    assert answered(url=url).callback_url == shown


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        *(
            ({"url": url}, "the URL must be like https://bot.example.com/wecom/bot")
            for url in ("bot.example.com", "ftp://x/y", "https://u:p@x/y", "https://x/y?z", "https://x/y#z", "http://[")
        ),
        ({"name": "\udcff"}, "the name must be UTF-8 text"),
        ({"url": "https://x/\udcff"}, "the URL must be UTF-8 text"),
        ({"agent_key": "\udcff"}, "AGENT_API_KEY must be UTF-8 text"),
        ({"port": 70_000}, "channels.wecom.port must be"),
        ({"status_port": -1}, "gateway.port must be"),
        ({"model": "m"}, "agent.url is required"),
        ({"agent_url": "http://127.0.0.1/v1", "model": "m"}, "agent.url is a base URL; append /responses"),
        ({"agent_url": "http://127.0.0.1/v1/responses"}, "agent.model is required"),
        ({"agent_url": "http://127.0.0.1/ask", "model": "m"}, "the agent's URL must end with /responses or /chat/"),
        ({"port": 18790}, "gateway.port and channels.wecom.port are both 18790"),
    ],
)
def test_a_wrong_answer_is_one_sentence(given: dict[str, object], sentence: str) -> None:
    (problem,) = answered(**given).problems()
    assert problem.startswith(sentence)
