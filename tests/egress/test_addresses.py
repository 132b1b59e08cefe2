"""The addresses and names that are public, and those that are not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.egress.addresses import is_forbidden, is_forbidden_host

PUBLIC = ["128.0.0.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"]
PUBLIC += ["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255"]
PUBLIC += ["192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15", "168.63.129.17"]
PUBLIC += ["2000::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700::1111", "3ffe:ffff::1"]
PUBLIC += ["64:ff9b::128.0.0.1", "::ffff:128.0.0.1"]

FORBIDDEN = ["0.0.0.1", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255"]
FORBIDDEN += ["127.0.0.0", "127.255.255.255", "169.254.0.0", "169.254.255.255", "172.16.0.0", "172.31.255.255"]
FORBIDDEN += ["192.0.0.0", "192.0.0.192", "192.0.0.255", "192.0.2.0", "192.0.2.255", "192.88.99.1", "192.168.0.0"]
FORBIDDEN += ["192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.0", "203.0.113.255", "224.0.0.0"]
FORBIDDEN += ["239.255.255.255", "240.0.0.0", "255.255.255.255", "168.63.129.16"]
FORBIDDEN += [
    "::",
    "::1",
    "::127.0.0.1",
    "::128.0.0.1",
    "::ffff:0:128.0.0.1",
    "100::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
]
FORBIDDEN += ["febf::1", "fec0::1", "ff00::1", "ff02::1", "1fff::1", "4000::1", "5f00::1", "2001::1", "2001:1ff::1"]
FORBIDDEN += ["2001:db8::1", "2001:db8:ffff::1", "2002:101:101::1", "3fff::1", "3fff:fff::1", "64:ff9b:1::128.0.0.1"]
FORBIDDEN += ["64:ff9b::10.0.0.1", "::ffff:127.0.0.1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]

NOT_ADDRESSES = ["", " ", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "128.0.0.1 ", "128.0.0.1/8", "[::1]", "host"]
NOT_ADDRESSES += ["fe80::1%eth0", "2606:4700::1%eth0", "::ffff:128.0.0.1%1", "１27.0.0.1", "128.0.0.1\n"]
NOT_ADDRESSES += ["128.0.0.1\x00"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """The cases include the last address before and the first after each forbidden network."""
    assert not is_forbidden(address)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_public_are_forbidden(address: str) -> None:
    """The cases are the first and last address of each network, and IPv4 addresses inside IPv6 addresses."""
    assert is_forbidden(address)


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_text_that_is_not_an_address_is_forbidden(text: str) -> None:
    """The cases include addresses with a zone, which are valid on one machine only."""
    assert is_forbidden(text)


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_treated_like_the_plain_one(address: IPv4Address) -> None:
    """Mapped addresses and those with the well-known NAT64 prefix lead to the embedded IPv4 address."""
    inside = int(address)
    mapped = IPv6Address((0xFFFF << 32) | inside)
    translated = IPv6Address((0x64FF9B << 96) | inside)
    assert is_forbidden(str(mapped)) == is_forbidden(str(address))
    assert is_forbidden(str(translated)) == is_forbidden(str(address))


@given(st.ip_addresses())
def test_every_allowed_address_is_global_according_to_python(address: IPv4Address | IPv6Address) -> None:
    """Our table never allows more than that of `ipaddress`."""
    assert is_forbidden(str(address)) or address.is_global


@pytest.mark.parametrize(
    "host",
    [
        "qyapi.weixin.qq.com",
        "ww-aibot-img-1258476243.cos.ap-guangzhou.myqcloud.com",
        "EXAMPLE.com.",
        "xn--fsqu00a.xn--0zwm56d",
        "a_b.example",
        "localhost.example",
        "notlocal.net",
        "mylan.com",
        "1.2.example",
        "0x7f.example",
        "128.0.0.1",
        "128.0.0.1.",
        "2606:4700::1111",
        "[2606:4700::1111]",
    ],
)
def test_a_proxy_may_be_asked_for_public_names_and_addresses(host: str) -> None:
    """The cases include names that only resemble local ones."""
    assert not is_forbidden_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *FORBIDDEN,
        *[f"[{address}]" for address in FORBIDDEN if ":" in address],
        *NOT_ADDRESSES,
        "127.0.0.1.",
        "0x7f.0.0.1",
        "0X7F000001",
        "017700000001",
        "1.1",
        "16843009",
        "0x01010101",
        "0x",
        "1.1.1.0x1",
        "0128.0.0.1",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ.example.ⓛⓐⓝ",
        "localhost",
        "LocalHost.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "box.home.arpa",
        "router.lan",
        "redis",
        "redis..",
        "a..example",
        ".example.com",
        "example.com..",
        "metadata.tencentyun.com",
        "a.metadata.tencentyun.com.",
        "a b.example",
        "a/b.example",
        "%31.example",
        "user@files.example",
        "files.example\\.evil.example",
        "例子.example",
        "fe80::1%25eth0",
        "[::1",
    ],
)
def test_a_proxy_is_not_asked_for_local_names_or_unusual_spellings_of_addresses(host: str) -> None:
    """A lenient resolver behind the proxy might read them as a local address."""
    assert is_forbidden_host(host)


@given(st.text())
def test_no_text_makes_either_function_raise(text: str) -> None:
    assert is_forbidden(text) in {True, False}
    assert is_forbidden_host(text) in {True, False}
