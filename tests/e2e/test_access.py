"""Tests for the allow-lists, and for credentials while they are rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PNG = draw_png(6, 6)


@pytest.mark.parametrize(
    ("settings", "allowed", "refused", "reason"),
    [
        ({"allowFrom": ["zhangsan", "lisi"]}, {"user": "lisi"}, {"user": "wangwu"}, "sender"),
        (
            {"allowGroups": ["wrAllowed"]},
            {"user": "lisi", "group": "wrAllowed"},
            {"user": "lisi", "group": "wrOther"},
            "group",
        ),
        (
            {"allowGroups": ["wrAllowed"], "allowFrom": ["lisi"]},
            {"user": "lisi", "group": "wrAllowed"},
            {"user": "wangwu", "group": "wrAllowed"},
            "sender",
        ),
    ],
    ids=["allowFrom", "allowGroups", "both"],
)
async def test_a_sender_or_group_off_the_allow_list_is_acknowledged_but_not_answered(
    watch: Watch, settings: dict[str, Any], allowed: dict[str, str], refused: dict[str, str], reason: str
) -> None:
    agent = RecordingAgent()
    async with Deployment(watch, settings, agent=agent) as deployment:
        sent = await deployment.send(Text("please let me in"), **refused)
        assert sent.acknowledgement == b'"success"'
        assert await deployment.metric("reply_windows") == 0
        assert await deployment.ask("it is only me", **allowed) == "it is only me"
        assert await deployment.metric("callbacks_total", kind="message", outcome="refused") == 1
    assert agent.texts == ["it is only me"]
    assert [fields["reason"] for fields in watch.logged("wecom callback refused")] == [reason]


@pytest.mark.parametrize("text", ["sorry, not for you", {"zh": "抱歉，不对您开放", "en": "sorry, not for you"}])
async def test_a_refused_person_gets_the_refusal_text_once(watch: Watch, text: object) -> None:
    """Nothing is stored for it, and the acknowledgement is as before."""
    agent = RecordingAgent()
    async with Deployment(watch, {"allowFrom": ["lisi"], "refusalText": text}, agent=agent) as deployment:
        sent = await deployment.send(Text("please let me in"), user="wangwu")
        assert sent.acknowledgement == b'"success"'
        assert (await sent.reply()).content == "sorry, not for you"
        await deployment.send(Text("please, I say"), user="wangwu")
        await deployment.ask("it is only me", user="lisi")
        assert len(deployment.wecom.recorded.replies) == 2
        assert await deployment.metric("explanations_total", reason="refused") == 1
        assert await deployment.metric("reply_windows") == 0
    assert agent.texts == ["it is only me"]


async def test_media_and_events_of_a_refused_sender_are_dropped(watch: Watch) -> None:
    async with Deployment(watch, {"allowFrom": ["zhangsan"]}) as deployment:
        await deployment.send(Image(PNG), user="wangwu")
        await deployment.send(EnterChat(), user="wangwu")
        await deployment.ask("and now from me", user="zhangsan")
        assert deployment.wecom.recorded.media_requests == {}
        assert await deployment.metric("callbacks_total", kind="event", outcome="refused") == 1


async def test_allow_groups_does_not_restrict_single_chats(watch: Watch) -> None:
    async with Deployment(watch, {"allowGroups": ["wrAllowed"]}) as deployment:
        assert await deployment.ask("just the two of us") == "just the two of us"


async def test_a_callback_of_a_bot_not_in_bot_ids_is_refused(watch: Watch) -> None:
    """Both bots share token and key."""
    agent = RecordingAgent()
    async with Deployment(watch, {"botIds": ["aibAllowed"]}, agent=agent) as deployment:
        deployment.wecom.bot_id = "aibOther"
        assert (await deployment.send(Text("to the other bot"))).acknowledged
        deployment.wecom.bot_id = "aibAllowed"
        assert await deployment.ask("to this bot here") == "to this bot here"
    assert agent.texts == ["to this bot here"]
    assert [fields["reason"] for fields in watch.logged("wecom callback refused")] == ["bot"]


@pytest.mark.parametrize(
    ("old_token", "old_key"), [(True, True), (True, False), (False, True)], ids=["both", "token", "key"]
)
async def test_old_and_new_credentials_work_during_a_rotation(watch: Watch, *, old_token: bool, old_key: bool) -> None:
    """The simulator checks that each acknowledgement is sealed with the credentials of its callback."""
    previous_token, previous_key = new_token(), new_encoding_aes_key()
    watch.register("a previous secret", previous_token, previous_key)
    settings = ({"previousToken": previous_token} if old_token else {}) | (
        {"previousEncodingAESKey": previous_key} if old_key else {}
    )
    async with Deployment(watch, settings) as deployment:
        before = Credentials(
            previous_token if old_token else deployment.bot.token,
            cipher.decode_key(previous_key if old_key else deployment.bot.key),
        )
        now = deployment.wecom.credentials
        for credentials in (before, now, before):
            deployment.wecom.credentials = credentials
            assert (await deployment.wecom.check_url()).passed
            assert await deployment.ask("in the middle of it") == "in the middle of it"
            assert await deployment.ask(Image(PNG)) == f"[image image/png, {len(PNG)} bytes]"


async def test_removed_credentials_are_rejected_after_a_rotation(watch: Watch) -> None:
    """A removed token gives 401, a removed key 400."""
    async with Deployment(watch) as deployment:
        now = deployment.wecom.credentials
        old_token = Credentials(new_token(), now.key)
        old_key = Credentials(now.token, cipher.decode_key(new_encoding_aes_key()))
        assert (await deployment.send(Text("with the old token"), credentials=old_token)).status == 401
        assert (await deployment.send(Text("with the old key"), credentials=old_key)).status == 400
