"""A gateway on a Redis as an operator secures it: TLS with a client certificate, a user with few rights, a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.gateway_process import free_port
from maven_channel_wecom.simulator.messages import Text
from tests.fakes.redis_server import RedisServer
from tests.interop.gateways import running_gateway
from tests.suite_watch import register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.certificates import Authority

USER, PASSWORD = "gateway", "redis-password-4711 /@#"
QUOTED_PASSWORD = "redis-password-4711%20%2F%40%23"


@pytest.fixture
def tls_port() -> int:
    return free_port()


@pytest.fixture
def server(authority: Authority, tls_port: int) -> Iterator[RedisServer]:
    certificate = str(authority.certificate_file())
    options = ("--tls-port", str(tls_port), "--tls-ca-cert-file", str(authority.file))
    server = RedisServer(*options, "--tls-cert-file", certificate, "--tls-key-file", certificate)
    server.start()
    yield server
    server.remove()


async def test_messages_are_answered_over_tls_with_a_user_of_few_rights(
    folder: Path, server: RedisServer, authority: Authority, tls_port: int
) -> None:
    register("a Redis password", PASSWORD, QUOTED_PASSWORD)
    await server.command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "~maven-wecom:*", "+@all", "-@admin")
    client = authority.certificate_file()
    state = (
        f"rediss://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{tls_port}/3"
        f"?ssl_ca_certs={authority.file}&ssl_certfile={client}&ssl_keyfile={client}"
    )
    async with running_gateway(folder, state=state) as (gateway, wecom):
        sent = await wecom.send(Text("hello"))
        assert (await sent.reply()).content == "hello"
        assert (await wecom.redeliver(sent)).acknowledged
        assert (await gateway.samples())['maven_wecom_dedup_hits_total{channel="wecom"}'] == 1
    # Redis counts keys by database.
    assert b"db3:" in await server.command("INFO", "keyspace")
