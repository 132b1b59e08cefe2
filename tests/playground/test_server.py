"""The web server of the playground."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.chat_history import BotEntry, ChatHistory, PersonEntry
from maven_channel_wecom.playground.form import MAX_FILE_BYTES
from maven_channel_wecom.playground.guard import TOKEN_HEADER
from maven_channel_wecom.playground.sample_picture import sample_picture
from maven_channel_wecom.simulator.messages import EnterChat, File, Image, Mixed, Text, Voice
from tests.playground.conftest import until_answered, view

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from tests.playground.conftest import Site
    from tests.simulator.bots import Bot

HERE = {"as": "lina", "chat": "single:lina", "lang": "en"}
GROUP = HERE | {"chat": "group:wrProductTeam"}


async def next_event(response: ClientResponse) -> tuple[str, str]:
    lines: list[str] = []
    while (line := (await response.content.readline()).decode().rstrip("\n")) or not lines:
        lines.append(line)
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return fields["event"], fields["data"]


@pytest.mark.parametrize(
    ("accepted", "path", "expected"),
    [("zh-CN,zh;q=0.9", "/", "zh-CN"), ("fr,zh", "/", "en"), ("", "/?lang=zh", "zh-CN"), ("zh", "/?lang=en", "en")],
)
async def test_the_language_is_that_of_the_browser_until_one_is_chosen(
    site: Site, accepted: str, path: str, expected: str
) -> None:
    async with site.session.get(site.url + path, headers={"Accept-Language": accepted}) as response:
        assert f'<html lang="{expected}">' in await response.text()


@pytest.mark.parametrize(
    "query", ["as=mallory&chat=single:zhangwei", "chat=group:none", "as=lina&chat=single:wangfang"]
)
async def test_an_unknown_view_becomes_a_known_one(site: Site, query: str) -> None:
    page = await site.get(f"/?{query}")
    user = re.search(r'data-user="(\w+)"', page)
    assert user
    assert f'data-chat="single:{user[1]}"' in page


async def test_a_text_is_sent_and_its_answer_reported(site: Site, history: ChatHistory) -> None:
    page = await site.get("/?as=lina&lang=en")
    instance = re.search(r'data-instance="(\w+)"', page)
    assert instance
    path = f"/events?as=lina&chat=single:lina&lang=en&after=0&instance={instance[1]}"
    async with site.session.get(site.url + path) as events:
        assert events.content_type == "text/event-stream"
        assert (await next_event(events))[0] == "chats"
        assert await site.post("/messages", **HERE, kind="text", text="hi") == (204, "")
        name, seen = "", dict[str, str]()
        while "answered: one **two**" not in seen.get("announce", "") or name != "chats":
            name, data = await next_event(events)
            seen[name] = data
        assert json.loads(seen["entry"])["id"] == "entry-2"
        assert "<strong>two</strong>" in json.loads(seen["entry"])["html"]
        assert "one two" in seen["chats"]


async def test_a_page_that_missed_a_part_of_the_news_gets_all_of_them_again(site: Site, history: ChatHistory) -> None:
    await site.post("/messages", **HERE, kind="text", text="hi")
    await until_answered(history)
    instance = re.search(r'data-instance="(\w+)"', await site.get("/"))
    assert instance
    path = f"/events?as=lina&chat=single:lina&after=0&instance={instance[1]}"
    async with site.session.get(site.url + path) as events:
        text = ""
        while "event: chats" not in text or not text.endswith("\n\n"):
            text += (await events.content.readany()).decode()
    blocks = text.strip().split("\n\n")
    assert ["\nid: " in block for block in blocks] == [False] * (len(blocks) - 1) + [True]


async def test_after_a_restart_the_page_is_told_to_load_again(site: Site) -> None:
    async with site.session.get(f"{site.url}/events?instance=old") as events:
        assert await events.text() == "event: reload\ndata: \n\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (HERE | {"kind": "voice", "text": "hi"}, Voice("hi")),
        (HERE | {"kind": "picture", "file": sample_picture()}, Image(sample_picture(), "a.png")),
        (HERE | {"kind": "file", "file": b"abc"}, File(b"abc", "a.png")),
        (GROUP | {"kind": "sample", "text": "see"}, Mixed((Text("@Maven see"), Image(sample_picture(), "sample.png")))),
    ],
)
async def test_each_kind_of_message_is_sent(
    site: Site, history: ChatHistory, fields: dict[str, str | bytes], expected: object
) -> None:
    assert await site.post("/messages", **fields) == (204, "")
    entry = history.entries[0]
    assert isinstance(entry, PersonEntry)
    assert (entry.author, entry.chat.key, entry.message) == ("lina", fields["chat"], expected)


async def test_what_cannot_be_sent_is_answered_with_a_sentence(site: Site, history: ChatHistory) -> None:
    zh = HERE | {"lang": "zh"}
    assert await site.post("/messages", **zh, kind="text", text=" ") == (400, "没有发送：消息是空的")
    assert await site.post("/messages", **GROUP, kind="voice", text="hi") == (
        400,
        "Not sent: a group takes text and pictures only",
    )
    assert (await site.post("/messages", **HERE, kind="file", file=bytes(MAX_FILE_BYTES + 200_000)))[0] == 413
    assert history.entries == []


async def test_fault_mode_and_quote_are_used(site: Site, history: ChatHistory) -> None:
    await site.post("/messages", **HERE, kind="text", text="old", mode="reply")
    await site.post("/messages", **HERE, kind="text", text="new", fault="status", quote="1")
    await site.post("/messages", **GROUP, kind="text", text="new", quote="1")
    first, second, third = [entry for entry in history.entries if isinstance(entry, PersonEntry)]
    assert (first.mode, second.mode, second.quotes) == ("reply", "reply", "old")
    assert third.quotes == "", "a message of another chat cannot be quoted"


async def test_only_pictures_are_served_with_their_own_type(site: Site, history: ChatHistory) -> None:
    await site.post("/messages", **HERE, kind="picture", file=sample_picture())
    await site.post("/messages", **HERE, kind="file", file=b"<svg onload=alert(1)>")
    async with site.session.get(f"{site.url}/pictures/1") as response:
        assert (response.content_type, await response.read()) == ("image/png", sample_picture())
    for number in (2, 99):
        async with site.session.get(f"{site.url}/pictures/{number}") as response:
            assert response.status == 404


async def test_what_travelled_and_the_bot_are_fragments_with_secrets_on_demand(
    site: Site, history: ChatHistory
) -> None:
    await site.post("/messages", **HERE, kind="text", text="hi")
    await until_answered(history)
    assert "response_code=" not in await site.get("/travelled/1?lang=en")
    assert "response_code=" in await site.get("/travelled/1?lang=en&secrets=1")
    assert "Callback" in await site.get("/travelled/2?lang=en"), "an answer shows its message"
    assert "404" in await site.get("/travelled/99")
    token = history.wecom.credentials.token
    assert token not in await site.get("/bot?lang=en")
    assert token in await site.get("/bot?lang=en&secrets=1")


async def test_actions_send_again_rate_enter_and_check(site: Site, history: ChatHistory) -> None:
    await site.post("/messages", **HERE, kind="text", text="hi", mode="reply")
    await until_answered(history)
    asked, bot = history.entries[:2]
    assert isinstance(asked, PersonEntry)
    assert isinstance(bot, BotEntry)
    assert (await site.post("/actions", **HERE, action="again", number="1"))[0] == 204
    assert (await site.post("/actions", **HERE, action="rate", number=str(bot.number), rating="good"))[0] == 204
    assert (await site.post("/actions", **HERE, action="enter", mode="reply"))[0] == 204
    assert (await site.post("/actions", **HERE, action="check"))[0] == 204
    assert (asked.copies, bot.rating) == (2, "good")
    entered = history.in_chat(view().chat)[2]
    assert isinstance(entered, PersonEntry)
    assert entered.message == EnterChat()


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "again", "number": "7"},
        {"action": "again", "number": "²"},
        {"action": "rate", "number": "1", "rating": "good"},
        {"action": "dance"},
        {},
        {"action": "enter", "chat": "group:wrProductTeam"},
    ],
)
async def test_an_impossible_action_is_answered_400(site: Site, fields: dict[str, str]) -> None:
    await site.post("/messages", **HERE, kind="text", text="hi")
    assert (await site.post("/actions", **(HERE | fields)))[0] == 400


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\r\n--b--'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="t"\r\nContent-Transfer-Encoding: base64\r\n\r\n?\r\n--b--',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="text"\r\nContent-Transfer-Encoding: odd\r\n\r\nx\r\n--b--',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="\xff"\r\nContent-Type: a/b\r\n\r\nx\r\n--b--',
        ),
        ("multipart/form-data; boundary=" + "b" * 80, b"x"),
        ("application/x-www-form-urlencoded", b"text=\xff"),
        ("application/x-www-form-urlencoded; charset=odd", b"text=x"),
        ("application/json", b"{}"),
    ],
)
@pytest.mark.parametrize("path", ["/messages", "/actions"])
async def test_a_form_that_cannot_be_read_is_answered_400(
    site: Site, path: str, content_type: str, body: bytes
) -> None:
    headers = {TOKEN_HEADER: site.token, "Origin": site.url, "Content-Type": content_type}
    async with site.session.post(site.url + path, data=io.BytesIO(body), headers=headers) as response:
        assert response.status == 400, await response.text()


async def test_an_answer_is_rated_in_its_own_chat_only(site: Site, history: ChatHistory) -> None:
    await site.post("/messages", **HERE, kind="text", text="hi", mode="reply")
    await until_answered(history)
    rating = {"action": "rate", "number": "2", "rating": "good"}
    assert (await site.post("/actions", **GROUP, **rating))[0] == 400
    assert (await site.post("/actions", **HERE, **rating))[0] == 204


async def test_events_are_refused_to_a_head_request(site: Site) -> None:
    async with site.session.head(f"{site.url}/events") as response:
        assert response.status == 405


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, rb'"\ud800"', rb'{"msgtype":"text","text":{"content":"\ud800"}}', b"\xff\xfe"],
    ids=["deep list", "deep object", "surrogate", "surrogate in a welcome", "no text"],
)
@pytest.mark.parametrize("mode", ["stream", "reply"])
async def test_the_details_of_a_broken_answer_are_shown_as_text(
    site: Site, history: ChatHistory, streaming: Bot, replying: Bot, content: bytes, mode: str
) -> None:
    streaming.frames, replying.acknowledgement = lambda _stream_id, _number: content, content
    await site.post("/messages", **HERE, kind="text", text="hi", mode=mode)
    entry = history.entries[0]
    assert isinstance(entry, PersonEntry)
    while entry.status is None:
        await history.changed(history.version)
    for path in ("/travelled/1?lang=en", "/travelled/1?lang=en&secrets=1", "/"):
        async with site.session.get(site.url + path) as response:
            assert response.status == 200
    assert "Acknowledgement" in await site.get("/travelled/1?lang=en")


async def test_only_the_files_of_the_page_are_served(site: Site) -> None:
    for name, expected in (
        ("page.css", 200),
        ("page.js", 200),
        ("icon.svg", 200),
        ("page.html", 404),
        ("..%2fpage.py", 404),
    ):
        async with site.session.get(f"{site.url}/web/{name}") as response:
            assert response.status == expected
