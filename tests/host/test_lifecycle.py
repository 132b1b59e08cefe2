"""A host from start to stop, with its status server on a real port."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import Health
from maven_channel_wecom.host.configuration import Configuration, Gateway, Job, Responses, Sessions, interpret
from maven_channel_wecom.host.lifecycle import Host
from maven_channel_wecom.host.schedules import Interval
from maven_channel_wecom.host.status_server import StatusServerError
from tests.fakes.proxies import HttpProxy
from tests.host.fake_channel import FakePlugin, manager_with, message
from tests.host.fake_responses import COMPLETED, delta, serving, sse
from tests.suite_watch import record_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "canary-key-4711"
TEXT = "canary-words-4711"


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
        return response.status, record_output(path, await response.text())


async def test_a_host_answers_messages_and_stops_its_channels() -> None:
    plugin = FakePlugin()
    async with running(plugin):
        await plugin.started["fake"].host.publish(message("hello"))
        assert plugin.sent[0].content == "hello"
    assert plugin.stopped == ["fake"]


async def test_the_configured_agent_is_asked() -> None:
    plugin = FakePlugin()
    async with serving() as fake:
        fake.chunks = (sse(delta("from afar"), COMPLETED),)
        settings = Configuration(
            gateway=Gateway(port=0), channels={"fake": {}}, agent=Responses(url=fake.url, model="maven")
        )
        async with running(plugin, settings):
            await plugin.started["fake"].host.publish(message())
    assert plugin.sent[0].content == "from afar"


def agent_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(each.message, vars(each)["fields"]) for each in caplog.records if each.message.startswith("agent ")]


async def until_logged(caplog: pytest.LogCaptureFixture, *events: str) -> None:
    async with asyncio.timeout(10):
        while not set(events) & set(caplog.messages):  # noqa: ASYNC110 -- logging has no event
            await asyncio.sleep(0)


async def test_the_start_tells_whether_the_agent_can_be_reached(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving() as fake:
        origin = fake.url.removesuffix("/v1/responses")
        agent = Responses(url=f"{fake.url}?{KEY}", model="maven", api_key=KEY)
        settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, agent=agent)
        async with running(FakePlugin(), settings):
            await until_logged(caplog, "agent reachable")
    facts = {"agent": origin, "type": "responses"}
    configured = ("agent configured", {"type": "responses", "memory": "server", "memory_state": "memory:"})
    assert agent_lines(caplog) == [configured, ("agent reachable", facts)]
    caplog.clear()
    async with running(FakePlugin(), settings):
        await until_logged(caplog, "agent unreachable")
    assert agent_lines(caplog) == [configured, ("agent unreachable", facts | {"reason": "refused"})]


async def test_the_start_tells_that_no_agent_is_configured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(FakePlugin()):
        assert agent_lines(caplog) == [("agent configured", {"type": "echo"})]


async def test_an_agent_whose_name_cannot_be_looked_up_is_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    """Looking it up raises no error of aiohttp."""
    agent = Responses(url="http://a..b/v1/responses", model="maven")
    settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, agent=agent)
    async with running(FakePlugin(), settings):
        await until_logged(caplog, "agent unreachable")
    assert agent_lines(caplog)[-1] == (
        "agent unreachable",
        {"agent": "http://a..b", "type": "responses", "reason": "dns"},
    )


async def test_the_start_tells_through_which_proxy_the_agent_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving("/v1/chat/completions") as fake, HttpProxy(URL(fake.url).port) as proxy:
        document = {
            "gateway": {"port": 0},
            "agent": {"type": "chat-completions", "url": "http://agent.invalid/v1/chat/completions", "model": "maven"},
        }
        environment = {"http_proxy": f"http://bot:{KEY}@127.0.0.1:{proxy.port}"}
        settings, problems = interpret(document, environment)
        async with running(FakePlugin(), msgspec.structs.replace(settings, channels={"fake": {}})):
            await until_logged(caplog, "agent unreachable", "agent reachable")
    assert problems == []
    facts = {
        "agent": "http://agent.invalid",
        "type": "chat-completions",
        "proxy": f"http://127.0.0.1:{proxy.port}",
        "proxy_source": "http_proxy",
    }
    # This proxy has no user, and refuses one.
    assert agent_lines(caplog)[-1] == ("agent unreachable", facts | {"reason": "proxy_credentials"})
    assert KEY not in str([vars(record) for record in caplog.records])


async def test_a_host_that_stopped_has_closed_its_memory(tmp_path: Path) -> None:
    sessions = Sessions(memory="messages", memory_state=f"sqlite:{tmp_path / 'memory.db'}")
    settings = msgspec.structs.replace(configuration(), sessions=sessions)
    for _ in range(2):
        plugin = FakePlugin()
        async with running(plugin, settings):
            await plugin.started["fake"].host.publish(message("hello"))
        assert [sent.content for sent in plugin.sent] == ["hello"]


async def test_neither_the_key_nor_a_users_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The agent repeats both in its error."""
    caplog.set_level("DEBUG")
    plugin = FakePlugin()
    async with serving() as fake:
        fake.json({"error": {"code": "bad_key", "message": f"{KEY} asked {TEXT}"}}, 401)
        agent = Responses(url=f"{fake.url}?{KEY}", model="maven", api_key=KEY)
        settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, agent=agent)
        async with running(plugin, settings):
            await plugin.started["fake"].host.publish(message(TEXT))
            fake.json({"output_text": TEXT})
            await plugin.started["fake"].host.publish(message(TEXT))
    logged = str([vars(record) for record in caplog.records])
    assert "bad_key" in logged
    assert KEY not in logged
    assert TEXT not in logged
    assert [TEXT in sent.content for sent in plugin.sent] == [False, True]


async def test_a_message_published_during_the_start_is_answered() -> None:
    """Channels publish recovered messages while they start."""
    plugin = FakePlugin()
    plugin.start_gate = asyncio.Event()
    plugin.start_gate.set()
    async with running(plugin, configuration(fake={"publishes": "from before"})):
        await asyncio.gather(*plugin.publishing)
    assert [sent.content for sent in plugin.sent] == ["from before"]


async def test_the_start_is_logged_as_by_the_original_gateway(caplog: pytest.LogCaptureFixture) -> None:
    """Operators search for these events and fields."""
    caplog.set_level("INFO")
    async with running(FakePlugin(), configuration(fake={}, second={"type": "fake"})) as host:
        port = host.port
    events = [(record.message, vars(record)["fields"]) for record in caplog.records if "fields" in vars(record)]
    assert ("gateway status server listening", {"port": port}) in events
    assert ("gateway channels started", {"channels": ["fake", "second"]}) in events


async def test_metrics_show_every_channel_before_the_first_skip() -> None:
    async with running(FakePlugin()) as host:
        status, text = await get(host, "/metrics")
    assert status == 200
    assert 'maven_wecom_proactive_skips_total{channel="fake"} 0.0' in text


async def test_metrics_have_one_format_whatever_a_client_accepts() -> None:
    async with running(FakePlugin()) as host, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{host.port}/metrics"
        async with session.get(url, headers={"Accept": "text/plain; version=x"}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_a_host_is_alive_while_a_channel_is_not_ready() -> None:
    plugin = FakePlugin()
    async with running(plugin) as host:
        assert await get(host, "/healthz") == (200, '{"status": "ok", "reasons": []}')
        assert await get(host, "/readyz") == (200, '{"ready": true, "reasons": []}')
        plugin.started["fake"].current_health = Health(ready=False, reasons=("the state is full",))
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: the state is full"]}')
        plugin.started["fake"].current_health = Health(ready=False)
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: not ready"]}')
        assert (await get(host, "/healthz"))[0] == 200
        assert (await get(host, "/other"))[0] == 404


async def test_a_channel_whose_health_check_fails_or_hangs_is_not_ready() -> None:
    plugin = FakePlugin()
    async with running(plugin) as host:
        plugin.started["fake"].health_error = ValueError()
        assert await get(host, "/readyz") == (503, '{"ready": false, "reasons": ["fake: could not report its health"]}')
        plugin.started["fake"].health_error = None
        plugin.started["fake"].health_gate = asyncio.Event()
        timed_out = '{"ready": false, "reasons": ["fake: did not report its health in time"]}'
        assert await get(host, "/readyz") == (503, timed_out)


async def test_a_host_is_not_ready_while_it_starts_and_while_it_drains() -> None:
    """The status server starts first and stops last."""
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


async def test_a_channel_that_cannot_start_stops_the_started_ones() -> None:
    plugin = FakePlugin()
    host = Host(configuration(first={"type": "fake"}, fake={"start_error": "the port is in use"}), manager_with(plugin))
    with pytest.raises(ChannelStartError, match="the port is in use"):
        await host.start()
    assert plugin.stopped == ["first"]
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(host, "/healthz")


async def test_a_channel_that_no_plugin_starts_is_an_error() -> None:
    class ChecksOnly:
        @hookimpl
        def maven_channel_problems(self) -> list[str]:
            return []

    with pytest.raises(ChannelStartError, match=r"channels\.fake cannot start"):
        await Host(configuration(), manager_with(ChecksOnly())).start()


async def test_a_start_can_be_cancelled() -> None:
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


async def test_a_status_port_in_use_is_reported_before_any_channel_starts() -> None:
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


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
async def test_the_unspecified_ipv6_address_includes_ipv4() -> None:
    host = Host(Configuration(gateway=Gateway(host="::", port=0)), manager_with(FakePlugin()))
    await host.start()
    try:
        assert (await get(host, "/healthz"))[0] == 200
    finally:
        await host.stop()


@pytest.mark.parametrize(("address", "shown"), [("2001:db8::1", "[2001:db8::1]"), ("a..b", "a..b")])
async def test_a_status_address_of_another_machine_is_reported(address: str, shown: str) -> None:
    host = Host(Configuration(gateway=Gateway(host=address, port=0)), manager_with(FakePlugin()))
    with pytest.raises(StatusServerError) as caught:
        await host.start()
    assert str(caught.value) == (
        f"the status server cannot listen on {shown}:0: not an address of this machine; change gateway.host"
    )


async def test_a_channel_that_fails_to_stop_does_not_keep_the_others_from_stopping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FailsToStop(FakePlugin):
        @hookimpl
        async def maven_channel_stop(self, channel: Any) -> None:  # noqa: ANN401 -- narrower than any channel is wrong
            if channel.name == "fake":
                raise RuntimeError
            self.stopped.append(channel.name)

    plugin = FailsToStop()
    async with running(plugin, configuration(fake={}, second={"type": "fake"})):
        pass
    assert plugin.stopped == ["second"]
    assert "channel did not stop cleanly" in caplog.messages


async def test_cron_jobs_run_while_the_host_runs() -> None:
    plugin = FakePlugin(reactive_only=False)
    job = Job(name="tick", schedule=Interval(1), message="tock", deliver=True, channel="fake", to="chat")
    settings = Configuration(gateway=Gateway(port=0), channels={"fake": {}}, cron=(job,))
    async with running(plugin, settings):
        await plugin.sent_any.wait()
    assert plugin.sent[0].content == "tock"
