"""What a URL shows of a mistake in the configuration of an agent. `test_configuration.py` has the sentences."""

from __future__ import annotations

import pytest

from maven_channel_wecom.host.agents.agent_url import api_of, path_problem, url_problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1/responses", "https://[::1]/", "https://api.example/?a=b"])
def test_a_usable_url_has_no_problem(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    "url", ["", "api.example", "ftp://x", "http://", "http://[::1]@", "http://a b/", "http://u@x/"]
)
def test_an_unusable_url_has_a_problem(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize("kind", ["responses", "chat-completions"])
@pytest.mark.parametrize("path", ["", "/", "/agent", "/v1/agent", "/v1/completions/agent"])
def test_a_path_of_no_known_api_has_no_problem(path: str, kind: str) -> None:
    """A gateway may give an API any path."""
    assert path_problem(f"https://api.example{path}", kind) is None


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/v1/responses", "responses", ""),
        ("/v1/responses/", "chat-completions", 'set agent.type to "responses"'),
        ("/v1/chat/completions?a=b", "chat-completions", ""),
        ("/v1/chat/completions", "responses", 'set agent.type to "chat-completions"'),
        ("/v1/completions", "responses", "older API"),
        ("/v1/completions", "chat-completions", "older API"),
        ("/v1/", "responses", "append /responses"),
        ("/v1", "chat-completions", "append /chat/completions"),
    ],
)
def test_a_path_of_another_api_names_the_type_for_it(path: str, kind: str, words: str) -> None:
    problem = path_problem(f"https://api.example{path}", kind)
    assert words in (problem or "")
    assert bool(words) == bool(problem)


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://api.example/v1/responses?key=/chat/completions", "responses"),
        ("https://api.example/v1/chat/completions/#", "chat-completions"),
        ("https://api.example/v1", ""),
        ("http://[", ""),
    ],
)
def test_the_end_of_a_url_tells_its_api(url: str, api: str) -> None:
    assert api_of(url) == api
