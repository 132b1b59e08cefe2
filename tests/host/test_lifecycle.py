"""A host from start to drain, with its status server on a real port."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import Health
from maven_channel_wecom.host.configuration import Configuration, Gateway, Job, Responses
from maven_channel_wecom.host.lifecycle import Host
from maven_channel_wecom.host.schedules import Interval
from maven_channel_wecom.host.status_server import StatusServerError
from tests.host.fake_channel import FakePlugin, manager_with, message
from tests.host.fake_responses import COMPLETED, delta, serving, sse
from tests.suite_watch import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "canary-key-4711"
WORDS = "canary-words-4711"


def configuration(**channels: dict[str, Any]) -> Configuration:
    return Configuration(gateway=Gateway(port=0), channels=channels or {"fake": {}})


@asynccontextmanager
async def running(plugin: FakePlugin, settings: Configuration | None = None) -> AsyncIterator[Host]:
    host = Host(settings or configuration(), manager_with(plugin))
    async with asyncio.timeout(20):
        await host.start()
        try:
            yield host
        finally:
            await host.stop()


async def get(host: Host, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{host.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, shown(path, await response.text())


async def test_a_host_answers_and_stops() -> None:
    """A message published by a channel comes back through it; at the end the channel is stopped."""
    plugin = FakePlugin()
    async with running(plugin):
        await plugin.started["fake"].host.publish(message("hello"))
        assert plugin.sent[0].content == "hello"
    assert plugin.stopped == ["fake"]


async def test_the_agent_of_the_configuration_is_asked() -> None:
    """`responses` speaks to its address."""
    plugin = FakePlugin()
    async with serving() as fake:
        fake.chunks = (sse(delta("from afar"), COMPLETED),)
        settings = Configuration(
            gateway=Gateway(port=0), channels={"fake": {}}, agent=Responses(url=fake.url, model="maven")
        )
        async with running(plugin, settings):
            await plugin.started["fake"].host.publish(message())
    assert plugin.sent[0].content == "from afar"


async def test_neither_key_nor_words_reach_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the agent repeats both in its error."""
    caplog.set_level("DEBUG")
    plugin = FakePlugin()
    async with serving() as fake:
        fake.json({"error": {"code": "bad_key", "message": f"{KEY} asked {WORDS}"}}, 401)
        agent = Responses(url=f"{fake.url}?{KEY}", model="maven", api_key=KEY)
        settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, agent=agent)
        async with running(plugin, settings):
            await plugin.started["fake"].host.publish(message(WORDS))
            fake.json({"output_text": WORDS})
            await plugin.started["fake"].host.publish(message(WORDS))
    logged = str([vars(record) for record in caplog.records])
    assert "bad_key" in logged
    assert KEY not in logged
    assert WORDS not in logged
    assert [WORDS in sent.content for sent in plugin.sent] == [False, True]


async def test_leftovers_published_while_starting_are_answered() -> None:
    """What an earlier run left is answered as soon as the channel is there."""
    plugin = FakePlugin()
    plugin.start_gate = asyncio.Event()
    plugin.start_gate.set()
    async with running(plugin, configuration(fake={"leftover": "from before"})):
        await asyncio.gather(*plugin.leftovers)
    assert [sent.content for sent in plugin.sent] == ["from before"]


async def test_the_start_is_logged_as_the_original_does(caplog: pytest.LogCaptureFixture) -> None:
    """Event and fields are fixed: people search for them."""
    caplog.set_level("INFO")
    async with running(FakePlugin(), configuration(fake={}, second={"type": "fake"})) as host:
        port = host.port
    events = [(record.message, vars(record)["fields"]) for record in caplog.records if "fields" in vars(record)]
    assert ("gateway status server listening", {"port": port}) in events
    assert ("gateway channels started", {"channels": ["fake", "second"]}) in events


async def test_metrics_show_every_channel_from_the_start() -> None:
    """Zero is visible before the first skip."""
    async with running(FakePlugin()) as host:
        status, text = await get(host, "/metrics")
    assert status == 200
    assert 'maven_wecom_proactive_skips_total{channel="fake"} 0.0' in text


async def test_metrics_do_not_fail_on_odd_requests() -> None:
    """Whatever a client says it accepts, it gets the text format."""
    async with running(FakePlugin()) as host, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{host.port}/metrics"
        async with session.get(url, headers={"Accept": "text/plain; version=x"}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_health_and_readiness() -> None:
    """Alive is one thing, able to take messages another."""
    plugin = FakePlugin()
    async with running(plugin) as host:
        assert await get(host, "/healthz") == (200, '{"status": "ok", "reasons": []}')
        assert await get(host, "/readyz") == (200, '{"ready": true, "reasons": []}')
        plugin.started["fake"].health_now = Health(ready=False, reasons=("the state is full",))
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: the state is full"]}')
        plugin.started["fake"].health_now = Health(ready=False)
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: not ready"]}')
        assert (await get(host, "/healthz"))[0] == 200
        assert (await get(host, "/other"))[0] == 404


async def test_a_channel_that_fails_its_health_is_not_ready() -> None:
    """A bug in a channel is no bug of the probe."""
    plugin = FakePlugin()
    async with running(plugin) as host:
        plugin.started["fake"].health_error = ValueError()
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: could not report its health"]}')
        plugin.started["fake"].health_error = None
        plugin.started["fake"].health_gate = asyncio.Event()
        late = '{"ready": false, "reasons": ["fake: did not report its health in time"]}'
        assert await get(host, "/readyz") == (503, late)


async def test_a_host_is_not_ready_while_it_starts_and_while_it_drains() -> None:
    """The status server comes first and goes last."""
    plugin = FakePlugin()
    plugin.start_gate = asyncio.Event()
    plugin.stop_gate = asyncio.Event()
    host = Host(configuration(), manager_with(plugin))
    async with asyncio.timeout(20):
        starting = asyncio.create_task(host.start())
        await plugin.starting.wait()
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["the gateway is starting"]}')
        plugin.start_gate.set()
        await starting
        stopping = asyncio.create_task(host.stop())
        await plugin.stopping.wait()
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["the gateway is draining"]}')
        plugin.stop_gate.set()
        await stopping
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(host, "/readyz")


async def test_a_channel_that_cannot_start_stops_those_that_did() -> None:
    """And its sentence goes up as it is."""
    plugin = FakePlugin()
    host = Host(configuration(first={"type": "fake"}, fake={"refuses": "the port is in use"}), manager_with(plugin))
    with pytest.raises(ChannelStartError, match="the port is in use"):
        await host.start()
    assert plugin.stopped == ["first"]
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(host, "/healthz")


async def test_a_channel_that_nobody_starts_is_an_error() -> None:
    """Its plugin found no problem with it and does not start it."""

    class Checker:
        @hookimpl
        def maven_channel_problems(self) -> list[str]:
            return []

    with pytest.raises(ChannelStartError, match=r"channels\.fake cannot start"):
        await Host(configuration(), manager_with(Checker())).start()


async def test_a_start_can_be_given_up() -> None:
    """A channel that waits for its state does not hold up a stop."""
    plugin = FakePlugin()
    plugin.start_gate = asyncio.Event()
    host = Host(configuration(), manager_with(plugin))
    starting = asyncio.create_task(host.start())
    async with asyncio.timeout(20):
        await plugin.starting.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(host, "/healthz")


async def test_a_status_port_in_use_is_one_sentence() -> None:
    """It names the address and the key to change, and no channel has been started."""
    plugin = FakePlugin()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        host = Host(Configuration(gateway=Gateway(port=port), channels={"fake": {}}), manager_with(plugin))
        with pytest.raises(StatusServerError) as caught:
            await host.start()
    assert str(caught.value) == (
        f"the status server cannot listen on 127.0.0.1:{port}: the port is in use; "
        "stop the program that uses it, or change gateway.port"
    )
    assert plugin.started == {}


async def test_an_address_of_another_machine_is_one_sentence() -> None:
    """It names the other key."""
    host = Host(Configuration(gateway=Gateway(host="2001:db8::1", port=0)), manager_with(FakePlugin()))
    with pytest.raises(StatusServerError) as caught:
        await host.start()
    assert str(caught.value) == (
        "the status server cannot listen on [2001:db8::1]:0: not an address of this machine; change gateway.host"
    )


async def test_one_channel_that_fails_to_stop_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Every channel gets its stop."""

    class Stubborn(FakePlugin):
        @hookimpl
        async def maven_channel_stop(self, channel: Any) -> None:  # noqa: ANN401 -- narrower than any channel is wrong
            if channel.name == "fake":
                raise RuntimeError
            self.stopped.append(channel.name)

    plugin = Stubborn()
    async with running(plugin, configuration(fake={}, second={"type": "fake"})):
        pass
    assert plugin.stopped == ["second"]
    assert "channel did not stop cleanly" in caplog.messages


async def test_cron_runs_with_the_host() -> None:
    """A job on its schedule reaches the agent and its channel."""
    plugin = FakePlugin(reactive_only=False)
    job = Job(name="tick", schedule=Interval(1), message="tock", deliver=True, channel="fake", to="chat")
    settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, cron=(job,))
    async with running(plugin, settings):
        await plugin.sent_one.wait()
    assert plugin.sent[0].content == "tock"
