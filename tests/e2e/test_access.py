"""Who is let in: allow-lists, and credentials while they are being changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.protocol import cipher
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PNG = draw_png(6, 6)


@pytest.mark.parametrize(
    ("settings", "let_in", "kept_out", "reason"),
    [
        ({"allowFrom": ["zhangsan", "lisi"]}, {"user": "lisi"}, {"user": "wangwu"}, "sender"),
        (
            {"allowGroups": ["wrOurs"]},
            {"user": "lisi", "group": "wrOurs"},
            {"user": "lisi", "group": "wrTheirs"},
            "group",
        ),
        (
            {"allowGroups": ["wrOurs"], "allowFrom": ["lisi"]},
            {"user": "lisi", "group": "wrOurs"},
            {"user": "wangwu", "group": "wrOurs"},
            "sender",
        ),
    ],
    ids=["allowFrom", "allowGroups", "both"],
)
async def test_who_is_not_on_the_list_is_acknowledged_and_not_answered(
    watch: Watch, settings: dict[str, Any], let_in: dict[str, str], kept_out: dict[str, str], reason: str
) -> None:
    """Nothing is stored for them, the agent does not hear them, and who is on it is answered as ever."""
    agent = Listener()
    async with Deployment(watch, settings, agent=agent) as deployment:
        sent = await deployment.send(Text("let me in please"), **kept_out)
        assert sent.acknowledgement == b'"success"'
        assert await deployment.metric("reply_windows") == 0
        assert await deployment.ask("it is only me", **let_in) == "it is only me"
        assert await deployment.metric("callbacks_total", kind="message", outcome="refused") == 1
    assert agent.words == ["it is only me"]
    assert [fields["reason"] for fields in watch.logged("wecom callback refused")] == [reason]


async def test_media_of_somebody_who_is_kept_out_is_not_fetched(watch: Watch) -> None:
    """Refused before anything is done for it; an event is refused alike."""
    async with Deployment(watch, {"allowFrom": ["zhangsan"]}) as deployment:
        await deployment.send(Image(PNG), user="wangwu")
        await deployment.send(EnterChat(), user="wangwu")
        await deployment.ask("and now from me", user="zhangsan")
        assert deployment.wecom.recorded.media_requests == {}
        assert await deployment.metric("callbacks_total", kind="event", outcome="refused") == 1


async def test_allow_groups_leaves_single_chats_alone(watch: Watch) -> None:
    """It is about groups."""
    async with Deployment(watch, {"allowGroups": ["wrOurs"]}) as deployment:
        assert await deployment.ask("just the two of us") == "just the two of us"


async def test_a_callback_of_another_bot_is_refused_where_bot_ids_are_set(watch: Watch) -> None:
    """Same token and key, another bot."""
    agent = Listener()
    async with Deployment(watch, {"botIds": ["aibOurs"]}, agent=agent) as deployment:
        deployment.wecom.bot_id = "aibTheirs"
        assert (await deployment.send(Text("to the other bot"))).acknowledged
        deployment.wecom.bot_id = "aibOurs"
        assert await deployment.ask("to this bot here") == "to this bot here"
    assert agent.words == ["to this bot here"]
    assert [fields["reason"] for fields in watch.logged("wecom callback refused")] == ["bot"]


@pytest.mark.parametrize(
    ("old_token", "old_key"), [(True, True), (True, False), (False, True)], ids=["both", "token", "key"]
)
async def test_a_rotation_has_no_gap(watch: Watch, *, old_token: bool, old_key: bool) -> None:
    """Old and new credentials are taken side by side, and each answer is sealed with those of its callback."""
    previous_token, previous_key = new_token(), new_encoding_aes_key()
    watch.keep("a previous secret", previous_token, previous_key)
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


async def test_after_a_rotation_the_old_credentials_open_nothing(watch: Watch) -> None:
    """A token that is gone is a wrong signature, a key that is gone is undecipherable."""
    async with Deployment(watch) as deployment:
        now = deployment.wecom.credentials
        old_token = Credentials(new_token(), now.key)
        old_key = Credentials(now.token, cipher.decode_key(new_encoding_aes_key()))
        assert (await deployment.send(Text("with the old token"), credentials=old_token)).status == 401
        assert (await deployment.send(Text("with the old key"), credentials=old_key)).status == 400
