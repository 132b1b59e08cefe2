"""Chooses the proxy of the agent: the key `agent.proxy`, or else one of the environment. No I/O.

In the environment, the variables of the URL's scheme come before those for all schemes, the lower-case name of a
variable before the upper-case one, and `NO_PROXY` lists hosts, domains and networks that are reached directly. So is
this machine itself.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

from maven_channel_wecom.transport.proxy import proxy_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

PROXY_KEY: Final = "agent.proxy"
"""The source of a proxy that the configuration names."""


class AgentProxy(NamedTuple):
    """A proxy. `url` may hold a password; `source` is the key, or the variable, that names the proxy."""

    url: str
    source: str

    def __repr__(self) -> str:
        return f"<AgentProxy of {self.source}>"


def choose_proxy(proxy: str, url: URL, environment: Mapping[str, str]) -> AgentProxy | None:
    """Return the proxy for an agent at `url`, or None if it is reached directly. `proxy` is the value of the key."""
    if proxy:
        return AgentProxy(proxy, PROXY_KEY)
    names = [variant for name in (f"{url.scheme}_proxy", "all_proxy") for variant in (name, name.upper())]
    source = next((name for name in names if environment.get(name, "").strip()), "")
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not source or is_direct(url, no_proxy):
        return None
    value = environment[source].strip()
    # Such variables often hold only host and port.
    return AgentProxy(value if "://" in value else f"http://{value}", source)


def environment_problem(proxy: AgentProxy) -> str | None:
    """Return what is wrong with a proxy of the environment, as the rest of a sentence that begins with `agent.url`."""
    problem = None if proxy.source == PROXY_KEY else proxy_problem(proxy.url)
    if problem is None:
        return None
    return (
        f"is reached through the proxy of the environment variable {proxy.source}, which {problem}; to reach it"
        " directly, name its host in NO_PROXY"
    )


def is_direct(url: URL, no_proxy: str) -> bool:
    """Return whether an agent is reached without the proxy of the environment."""
    host = (url.host or "").lower().rstrip(".")
    if _is_loopback(host):
        return True
    entries = re.split(r"[\s,]+", no_proxy.lower())
    return any(entry == "*" or _matches(host, url.port, entry) for entry in entries if entry)


def _matches(host: str, port: int | None, entry: str) -> bool:
    """Return whether an entry of `NO_PROXY` covers a host: its name, a domain above it, its address or its network."""
    name = entry
    if entry.startswith("[") or entry.count(":") == 1:
        name, _, number = entry.rpartition(":") if re.search(r":\d+$", entry) else (entry, "", "")
        if number and number != str(port):
            return False
    name = name.strip("[]").removeprefix("*").strip(".")
    try:
        return ip_address(host) in ip_network(name, strict=False)
    except ValueError:
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
