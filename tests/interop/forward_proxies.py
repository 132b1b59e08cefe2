"""Configurations of forward proxies, and the proxies that run with them."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.gateway_process import free_port
from tests.interop.programs import find_program, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER, PASSWORD = "proxy-user-4711", "proxy-password-4711"

_SQUID = """
http_port 127.0.0.1:$port
auth_param basic program /usr/lib/squid/basic_ncsa_auth $folder/users
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
access_log none
cache_log /dev/null
pid_filename none
netdb_filename none
"""

_TINYPROXY = f"""
Port $port
Listen 127.0.0.1
BasicAuth {USER} {PASSWORD}
"""

# Dante knows only the users of the machine, so it requires no password here.
_DANTE = """
logoutput: stderr
internal: 127.0.0.1 port = $port
external: lo
clientmethod: none
socksmethod: none
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
"""


@dataclass(frozen=True)
class ForwardProxy:
    """A proxy: the program, its Debian package, its arguments with `$config` and `$port`, and its configuration."""

    program: str
    package: str
    arguments: tuple[str, ...]
    config: str = ""
    user_info: str = f"{USER}:{PASSWORD}@"

    @asynccontextmanager
    async def started(self, folder: Path) -> AsyncIterator[str]:
        """Run the proxy, and return its address without the scheme."""
        program = find_program(self.program, self.package)
        port, file = free_port(), folder / "proxy.conf"
        file.write_text(Template(self.config).substitute(port=port, folder=folder), encoding="utf-8")
        # Squid's helper accepts MD5 without a salt.
        digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
        (folder / "users").write_text(f"{USER}:{digest}\n", encoding="utf-8")
        arguments = [Template(argument).substitute(config=file, port=port) for argument in self.arguments]
        async with running([program, *arguments], port=port, folder=folder):
            yield f"{self.user_info}127.0.0.1:{port}"


_MICROSOCKS = ForwardProxy("microsocks", "microsocks", ("-i", "127.0.0.1", "-p", "$port", "-u", USER, "-P", PASSWORD))
_DANTED = ForwardProxy("danted", "dante-server", ("-f", "$config"), _DANTE, user_info="")

FORWARD_PROXIES = {
    "squid": ("http", ForwardProxy("squid", "squid", ("-N", "-f", "$config"), _SQUID)),
    "tinyproxy": ("http", ForwardProxy("tinyproxy", "tinyproxy", ("-d", "-c", "$config"), _TINYPROXY)),
    "microsocks-socks5": ("socks5", _MICROSOCKS),
    "microsocks-socks5h": ("socks5h", _MICROSOCKS),
    "dante-socks5": ("socks5", _DANTED),
    "dante-socks5h": ("socks5h", _DANTED),
}
"""Each proxy with the scheme of its address."""
