"""Addresses of the Redis backend, and the key prefix of a channel."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires

import pytest

from maven_channel_wecom.state.backends import address_problem
from maven_channel_wecom.state.redis.address import key_prefix, parse_redis_address


@pytest.mark.parametrize(
    "address",
    ["redis://h", "redis://h:6380/", "redis://u:p%23@h/15", "rediss://[::1]:6380/1?ssl_ca_certs=/ca.pem"],
)
def test_a_valid_address_has_no_problem(address: str) -> None:
    assert address_problem(address) is None


@pytest.mark.parametrize(
    ("address", "problem_part"),
    [
        ("redis://", "host"),
        ("redis://:canary@", "host"),
        ("redis://:canary@h:port", "not a Redis address"),
        ("redis://:canary@[h", "not a Redis address"),
        ("redis://:canary@h:0", "port"),
        ("redis://:canary@h/db", "database"),
        ("redis://:can#ary@h", "host"),
        ("redis://:canary@h1:6379,h2:6379", "Sentinel or Cluster"),
        ("redis+sentinel://:canary@h/primary", "Sentinel or Cluster"),
        ("rediss+cluster://:canary@h", "Sentinel or Cluster"),
        ("redis://h/0#canary", "%23"),
        ("redis://h?password=canary", "options"),
        ("redis://h?ssl_ca_certs=canary", "options"),
        ("rediss://h?ssl_cert_reqs=none", "options"),
    ],
)
def test_an_invalid_address_is_explained_without_being_quoted(address: str, problem_part: str) -> None:
    """An address may contain a password, even in a wrong place."""
    problem = address_problem(address)
    assert problem is not None
    assert problem_part in problem
    assert "canary" not in problem


def test_an_address_is_parsed() -> None:
    address = parse_redis_address("rediss://us%40er:p%23w@host:7000/3?ssl_ca_certs=/ca.pem")
    assert (address.host, address.port, address.database) == ("host", 7000, 3)
    assert (address.user, address.password, address.tls) == ("us@er", "p#w", True)
    assert address.options == {"ssl_ca_certs": "/ca.pem"}
    assert repr(address) == "<RedisAddress>"


def test_without_the_redis_package_the_problem_says_what_to_install() -> None:
    """The other backends do not need the package."""
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from maven_channel_wecom.state.backends import address_problem\n"
        "print(address_problem('memory:'), address_problem('redis://h'))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own program
    (needed,) = (each.partition(";")[0].strip() for each in requires("maven-channel-wecom") or () if "redis" in each)
    assert output.strip() == f"None is Redis, which needs one more package: pip install '{needed}'"


def test_no_key_prefix_is_the_beginning_of_another() -> None:
    """The name of a channel may contain braces and percent signs anywhere."""
    names = ["x", "x}", "x%7D", "x}:message:y", "}", "{x}", "机器人: 1%"]
    prefixes = [key_prefix(name) for name in names]
    for prefix in prefixes:
        assert [other for other in prefixes if other.startswith(prefix)] == [prefix]
