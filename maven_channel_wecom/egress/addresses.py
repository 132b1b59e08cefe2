"""The addresses and host names that an outgoing request may reach: the public internet, and nothing else.

The table is our own, because `ipaddress.is_global` differs between patch releases of Python.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# https://www.iana.org/assignments/iana-ipv4-special-registry
_FORBIDDEN_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba Cloud's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, looks public, but exists only inside Azure
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks; the fake addresses of some local proxies
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

# https://www.iana.org/assignments/ipv6-address-space: no other range is unicast on the internet.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

# https://www.iana.org/assignments/iana-ipv6-special-registry
_FORBIDDEN_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4: no public service, and an IPv4 address inside
        "3fff::/20",
    )
)

# RFC 6052. An IPv6-only network reaches the IPv4 internet through this prefix.
_NAT64: Final = IPv6Network("64:ff9b::/96")

# RFC 6761, and suffixes of local networks: no public name has one. The last two are metadata services of clouds.
_FORBIDDEN_SUFFIXES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "svc",
    "consul",
    "test",
    "invalid",
    "onion",
    "alt",
    "arpa",
    "fritz.box",
    "metadata.goog",
    "metadata.tencentyun.com",
)

_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", re.ASCII)
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)


def is_forbidden(address: str) -> bool:
    """Return whether connections to a literal address are refused.

    Addresses with a zone, and text that is not an address, are refused as well.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return True
    if isinstance(parsed, IPv6Address):
        return _is_forbidden_ipv6(parsed)
    return _is_forbidden_ipv4(parsed)


def is_made_up(address: str) -> bool:
    """Return whether an address is one of those that local proxies such as Clash answer names with ("fake IP").

    Only the proxy that made up the address knows which name it stands for.
    """
    return address.startswith(("198.18.", "198.19."))


def is_forbidden_host(host: str) -> bool:
    """Return whether a proxy that resolves names itself must not be asked for this host.

    Refused are names of local networks, and every spelling that a lenient resolver might read as an address: short,
    octal, hexadecimal and integer forms. Only the proxy can check the address that a public name resolves to.
    """
    normalized = unicodedata.normalize("NFKC", host).replace("。", ".").lower().removesuffix(".")
    if normalized.startswith("[") and normalized.endswith("]"):
        normalized = normalized[1:-1]
    if ":" in normalized or _ENDS_IN_NUMBER.fullmatch(normalized):
        return is_forbidden(normalized)
    if not _NAME.fullmatch(normalized):
        return True
    return any(f".{normalized}".endswith(f".{suffix}") for suffix in _FORBIDDEN_SUFFIXES)


def _is_forbidden_ipv4(address: IPv4Address) -> bool:
    return any(address in network for network in _FORBIDDEN_IPV4)


def _is_forbidden_ipv6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return True
    if address.ipv4_mapped is not None:
        return _is_forbidden_ipv4(address.ipv4_mapped)
    if address in _NAT64:
        return _is_forbidden_ipv4(IPv4Address(address.packed[-4:]))
    return address not in _GLOBAL_UNICAST or any(address in network for network in _FORBIDDEN_IPV6)
