"""The JSON of a request, which is encoded as it is sent."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from maven_channel_wecom.host.agents.request_body import DataUrl, RequestBody


@pytest.mark.parametrize(
    "request_", [{}, {"a": [], "b": {}, 'c"': ["1", 2, None, True, {"d": [3.5]}]}, {"企业": "微信\n"}], ids=range(3)
)
def test_a_body_is_the_json_of_its_request(request_: dict[str, object]) -> None:
    body = RequestBody(request_)
    whole = b"".join(body.pieces())
    assert json.loads(whole) == request_
    assert len(whole) == body.size_bytes


def test_media_are_encoded_in_small_pieces_without_a_copy_of_the_whole() -> None:
    data = "iVBO" * 1_000_000
    body = RequestBody({"model": "a[]b", "input": [{"name": '"[]"', "url": DataUrl("a/b", data)}, DataUrl("c/d", "")]})
    tracemalloc.start()
    sizes = [len(piece) for piece in body.pieces()]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) == body.size_bytes > len(data)
    assert max(sizes) <= 65_536
    assert peak_bytes < len(data) / 10
    request = json.loads(b"".join(body.pieces()))
    assert request["model"] == "a[]b"
    assert request["input"] == [{"name": '"[]"', "url": f"data:a/b;base64,{data}"}, "data:c/d;base64,"]


async def test_other_tasks_run_after_each_piece() -> None:
    ran: list[None] = []

    async def other() -> None:
        while True:
            ran.append(None)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    times = [len(ran) async for _ in RequestBody({"url": DataUrl("a/b", "iVBO" * 200_000)})]
    task.cancel()
    assert len(times) > 10
    assert times == list(range(len(times)))


def test_no_repr_shows_the_media() -> None:
    assert repr(DataUrl("image/png", "canary-4711")) == "<DataUrl of 11 characters>"


def test_many_texts_are_few_pieces() -> None:
    """Other tasks run after each piece."""
    assert len(list(RequestBody({"input": [{"text": str(number)} for number in range(1_000)]}).pieces())) == 1
