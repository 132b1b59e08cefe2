"""Addresses of the Redis backend as an operator writes them, and the keys of a channel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from maven_channel_wecom.state.backends import address_problem
from maven_channel_wecom.state.redis.address import key_prefix, parse_redis_address


@pytest.mark.parametrize(
    "address",
    ["redis://h", "redis://h:6380/", "redis://u:p%23@h/15", "rediss://[::1]:6380/1?ssl_ca_certs=/ca.pem"],
)
def test_a_good_address_is_taken(address: str) -> None:
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
    address = parse_redis_address("rediss://us%40er:p%23w@host:7000/3?ssl_ca_certs=/ca.pem")
    assert (address.host, address.port, address.database) == ("host", 7000, 3)
    assert (address.user, address.password, address.tls) == ("us@er", "p#w", True)
    assert address.options == {"ssl_ca_certs": "/ca.pem"}
    assert repr(address) == "<RedisAddress>"


def test_without_the_extra_it_says_what_to_install() -> None:
    """In a process where the package cannot be imported; nothing else needs it."""
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from maven_channel_wecom.state.backends import address_problem\n"
        "print(address_problem('memory:'), address_problem('redis://h'))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own program
    assert said.strip() == "None is Redis, which needs one more package: pip install 'maven-channel-wecom[redis]'"


def test_no_channel_has_the_beginning_of_anothers_keys() -> None:
    """A name may hold braces and percent signs, in any place."""
    names = ["x", "x}", "x%7D", "x}:message:y", "}", "{x}", "机器人: 1%"]
    prefixes = [key_prefix(name) for name in names]
    for prefix in prefixes:
        assert [other for other in prefixes if other.startswith(prefix)] == [prefix]
