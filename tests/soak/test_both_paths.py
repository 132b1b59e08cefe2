"""The short path and the long one cannot be told apart, whatever is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pluggy
from prometheus_client import CollectorRegistry

from maven_channel_wecom import plugin
from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from tests.soak.mutations import GUEST, mutate
from tests.soak.sending import Sender

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
CREDENTIALS = Credentials("token", decode_key(KEY))
MUTATIONS = 2_000
AT_ONCE = 32
SEED = 5


class Host:
    """Takes messages, and answers none."""

    def __init__(self) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        self.hook = manager.hook
        self.metrics = CollectorRegistry()
        self.published: set[str] = set()

    async def publish(self, message: InboundMessage) -> None:
        self.published.add(message.message_id)

    async def start(self, *, short_path: bool) -> WeComChannel:
        config = {"token": "token", "encodingAESKey": KEY, "host": "127.0.0.1", "port": 0, "allowFrom": [GUEST]}
        channel = await self.hook.maven_channel_start(
            name="wecom", config={**config, "shortPath": short_path}, host=self
        )
        assert isinstance(channel, WeComChannel)
        return channel


async def test_with_and_without_the_short_path_the_answers_are_the_same() -> None:
    """Status, headers and body, but for the date and what is sealed."""
    differences = []
    hosts = Host(), Host()
    channels = [await host.start(short_path=short) for host, short in zip(hosts, (True, False), strict=True)]
    remaining = iter(range(MUTATIONS))

    async def keep_sending() -> None:
        senders = [Sender("127.0.0.1", channel.port or 0) for channel in channels]
        for number in remaining:
            mutation = mutate(SEED, number, CREDENTIALS)
            short, long = await asyncio.gather(*(sender.send(mutation) for sender in senders))
            alike = [answer.unsealed() for answer in short] == [answer.unsealed() for answer in long]
            # What need not be answered may be answered too late to be seen.
            if not alike and (mutation.answers or (short and long)):
                differences.append((number, mutation.layer, mutation.segments, short, long))
        for sender in senders:
            sender.close()

    await asyncio.gather(*(keep_sending() for _ in range(AT_ONCE)))
    for host, channel in zip(hosts, channels, strict=True):
        await host.hook.maven_channel_stop(channel=channel)
    assert differences == []
    assert all(host.published for host in hosts)
