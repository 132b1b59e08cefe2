"""Addresses and errors of the Redis backend, as an operator reads them: what is wrong, and no secret."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from redis import exceptions

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.opening import address_problem, open_state
from maven_channel_wecom.state.redis.address import parse_redis_address
from maven_channel_wecom.state.redis.failures import ServerTooOld, is_lost_answer, unavailable
from tests.fakes.certificates import Authority
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas
from tests.fakes.redis_server import shared_redis

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "address",
    ["redis://h", "redis://h:6380/", "redis://u:p%23@h/15", "rediss://[::1]:6380/1?ssl_ca_certs=/ca.pem"],
)
def test_a_good_address_is_taken(address: str) -> None:
    """With a user, a database and TLS or without."""
    assert address_problem(address) is None


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("redis://", "host"),
        ("redis://:canary@", "host"),
        ("redis://:canary@h:port", "not a Redis address"),
        ("redis://:canary@[h", "not a Redis address"),
        ("redis://:canary@h:0", "port"),
        ("redis://:canary@h/db", "database"),
        ("redis://:can#ary@h", "host"),
        ("redis://h/0#canary", "%23"),
        ("redis://h?password=canary", "options"),
        ("redis://h?ssl_ca_certs=canary", "options"),
        ("rediss://h?ssl_cert_reqs=none", "options"),
    ],
)
def test_a_bad_address_is_explained_and_not_shown(address: str, complaint: str) -> None:
    """It may hold a password, in the right place or not."""
    problem = address_problem(address)
    assert problem is not None
    assert complaint in problem
    assert "canary" not in problem


def test_an_address_is_taken_apart() -> None:
    """Escapes are undone, and its repr shows nothing."""
    address = parse_redis_address("rediss://us%40er:p%23w@host:7000/3?ssl_ca_certs=/ca.pem")
    assert (address.host, address.port, address.database) == ("host", 7000, 3)
    assert (address.user, address.password, address.tls) == ("us@er", "p#w", True)
    assert address.options == {"ssl_ca_certs": "/ca.pem"}
    assert repr(address) == "<RedisAddress>"


def test_without_the_extra_it_says_what_to_install() -> None:
    """In a process where the package cannot be imported; nothing else needs it."""
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from maven_channel_wecom.state.opening import address_problem\n"
        "print(address_problem('memory:'), address_problem('redis://h'))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own program
    assert said.strip() == "None is Redis, which needs one more package: pip install 'maven-channel-wecom[redis]'"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.BusyLoadingError("canary"), "loading"),
        (exceptions.ReadOnlyError("canary"), "read-only"),
        (exceptions.NoPermissionError("canary"), "may not do"),
        (exceptions.MovedError("1234 canary:6379"), "cluster node"),
        (exceptions.AskError("1234 canary:6379"), "Cluster"),
        (exceptions.ClusterDownError("canary"), "is down"),
        (exceptions.MasterDownError("canary"), "lost its primary"),
        (exceptions.AuthenticationError("canary"), "refuses"),
        (exceptions.AuthenticationError("Authentication required."), "wants a password"),
        (exceptions.ResponseError("BUSY canary"), "busy"),
        (exceptions.ResponseError("MISCONF canary"), "save"),
        (exceptions.ResponseError("NOREPLICAS canary"), "too few replicas"),
        (exceptions.ResponseError("WRONGTYPE canary"), "refused a step"),
        (exceptions.ConnectionError("canary:6379"), "cannot be reached"),
        (OSError("canary"), "cannot be reached"),
        (exceptions.TimeoutError("canary:6379"), "in time"),
        (TimeoutError("canary"), "in time"),
        (ServerTooOld(), "too old"),
        (ValueError("canary"), "refused a step"),
    ],
)
def test_each_error_has_its_sentence(error: Exception, sentence: str) -> None:
    """In our own words: theirs may hold addresses and keys."""
    told = unavailable(error)
    assert sentence in str(told)
    assert told.reason == "state"
    assert "canary" not in str(told)


def test_a_full_redis_has_a_reason_of_its_own() -> None:
    """A label for an alert of its own."""
    assert unavailable(exceptions.OutOfMemoryError("canary")).reason == "state_full"


def test_only_what_may_do_better_at_once_is_sent_again() -> None:
    """A refusal would be refused again."""
    assert is_lost_answer(TimeoutError())
    assert is_lost_answer(exceptions.ConnectionError())
    assert not is_lost_answer(exceptions.AuthenticationError())
    assert not is_lost_answer(exceptions.BusyLoadingError())
    assert not is_lost_answer(exceptions.ReadOnlyError())


async def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    """By the authority named in the address; without it the connection is refused, and said why."""
    server = shared_redis()
    authority = await asyncio.to_thread(Authority, tmp_path)
    trusted = tmp_path / "authority.pem"
    trusted.write_text(ssl.DER_cert_to_PEM_cert(authority.trust.get_ca_certs(binary_form=True)[0]))
    async with FaultProxy(server.port, tls=authority.server("localhost")) as proxy, Replicas() as opened:
        trusting = await opened.open(f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={trusted}")
        assert await trusting.health() is None
        wary = await opened.open(f"rediss://127.0.0.1:{proxy.port}")
        assert "no certificate that is trusted" in (await wary.health() or "")
        plain = await opened.open(f"rediss://127.0.0.1:{server.port}")
        assert await plain.health() is not None
        for store in (trusting, wary, plain):
            await store.close()


async def test_tls_files_that_cannot_be_read_are_an_error_at_once(tmp_path: Path) -> None:
    """No waiting heals that."""
    (tmp_path / "empty.pem").touch()
    for file in ("missing.pem", "empty.pem"):
        with pytest.raises(StateUnavailable, match="files for TLS"):
            await open_state(f"rediss://127.0.0.1:1?ssl_ca_certs={tmp_path}/{file}", channel="wecom")
