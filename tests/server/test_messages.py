"""Requests, answers, and the encoding of answers."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import pytest

from maven_channel_wecom.server.messages import RETRY_LATER, Answer, Request, ResponseWriter, error_answer


def test_an_answer_is_written_with_its_length_and_the_date() -> None:
    answer = Answer(status=200, body=b"{}", content_type="application/json", headers={"X-A": "b"})
    response = ResponseWriter().encode(answer).decode()
    date = response.split("Date: ")[1].split("\r\n")[0]
    assert parsedate_to_datetime(date).tzinfo is not None
    assert response.replace(date, "then") == (
        "HTTP/1.1 200 OK\r\nServer: maven\r\nDate: then\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        "X-A: b\r\n\r\n{}"
    )


def test_the_answer_to_head_has_the_length_of_the_body_it_leaves_out() -> None:
    response = ResponseWriter().encode(Answer(status=200, body=b"echo"), with_body=False)
    assert b"Content-Length: 4\r\n" in response
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_the_connection_header_is_written_if_given(connection: str) -> None:
    response = ResponseWriter().encode(Answer(status=200), connection=connection)
    assert f"\r\nConnection: {connection}\r\n".encode() in response
    assert b"\r\nConnection:" not in ResponseWriter().encode(Answer(status=200))


@pytest.mark.parametrize(
    ("status", "header"),
    [(405, "Allow: GET, HEAD, POST"), (415, "Accept-Encoding: identity"), (503, "Retry-After: 5")],
)
def test_an_error_answer_has_the_header_that_its_status_calls_for(status: int, header: str) -> None:
    assert f"\r\n{header}\r\n".encode() in ResponseWriter().encode(error_answer(status))


def test_only_the_answer_to_a_genuine_callback_verifies() -> None:
    assert RETRY_LATER.verifies
    assert not error_answer(503).verifies
    assert not Answer(status=200).verifies


def test_an_answer_does_not_name_the_server_software() -> None:
    assert not re.search(rb"python|aiohttp|httptools", ResponseWriter().encode(error_answer(400)), re.IGNORECASE)


class Client:
    """The other end of a request: whether it is still there, and the answers it got."""

    def __init__(self, *, is_there: bool = True) -> None:
        self.is_there = is_there
        self.answers: list[Answer] = []

    def respond(self, answer: Answer) -> bool:
        self.answers.append(answer)
        return self.is_there


@pytest.mark.parametrize("is_there", [True, False])
def test_an_answer_is_passed_on_and_its_sender_learns_whether_it_was_written(*, is_there: bool) -> None:
    client = Client(is_there=is_there)
    assert Request("POST", b"a=b", b"{}", client.respond).answer(error_answer(401)) is is_there
    assert client.answers == [error_answer(401)]


def test_a_second_answer_raises_and_is_not_sent() -> None:
    client = Client()
    request = Request("POST", b"", b"", client.respond)
    request.answer(error_answer(401))
    with pytest.raises(RuntimeError, match="already been answered"):
        request.answer(error_answer(400))
    assert client.answers == [error_answer(401)]
