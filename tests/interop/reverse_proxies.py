"""Configurations of reverse proxies, each as an operator would write it, and the proxies that run with them."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.gateway_process import free_port
from tests.interop.programs import find_program, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

# Temporary files go into the folder of the test. nginx drops root only if it is told to which user.
_NGINX = """
daemon off;
user root;
pid $folder/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    $site
}
"""

# With the default settings of nginx, which sends HTTP/1.0 and `Connection: close`.
_NGINX_SITE = "server { listen 127.0.0.1:$port $tls; location / { proxy_pass http://127.0.0.1:$upstream; } }"
_NGINX_TLS = "ssl http2; ssl_certificate $certificate; ssl_certificate_key $certificate"

_NGINX_REPLICAS = """
upstream maven {
    server 127.0.0.1:$upstream max_fails=0;
    server 127.0.0.1:$second max_fails=0;
    keepalive 16;
}
server {
    listen 127.0.0.1:$port;
    location = /wecom/bot {
        proxy_pass http://maven;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_next_upstream error timeout http_503 non_idempotent;
        proxy_connect_timeout 1s;
        proxy_read_timeout 4s;
        client_max_body_size 1m;
    }
}
"""

_HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    $defaults
frontend front
    bind 127.0.0.1:$port $tls
    default_backend maven
backend maven
    server first 127.0.0.1:$upstream $server
    $more
"""

_CADDY = """
{
    admin off
    auto_https disable_redirects
}
$scheme://127.0.0.1:$port {
    $tls
    reverse_proxy 127.0.0.1:$upstream
}
"""

_APACHE = """
ServerRoot $folder
ServerName 127.0.0.1
Listen 127.0.0.1:$port
PidFile $folder/apache.pid
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
User www-data
Group www-data
$tls
ProxyPass / http://127.0.0.1:$upstream/ $options
"""
_APACHE_TLS = """
SSLEngine on
SSLCertificateFile $certificate
Protocols h2 http/1.1
"""


@dataclass(frozen=True)
class ReverseProxy:
    """One way to put a proxy in front of gateways: the program, its Debian package, and how it is configured.

    `arguments` follow the program, with `$config` for the file. `values` fill the placeholders of `config`, and may
    have placeholders themselves. With a value for `tls` the proxy speaks TLS and HTTP/2 to its clients.
    """

    program: str
    package: str
    arguments: tuple[str, ...]
    config: str
    values: tuple[tuple[str, str], ...] = ()

    @property
    def tls(self) -> bool:
        return any(key == "tls" for key, _ in self.values)

    @asynccontextmanager
    async def in_front_of(
        self, upstreams: Sequence[int], folder: Path, *, certificate: Path | None = None
    ) -> AsyncIterator[str]:
        """Run the proxy in front of the gateways on these ports, and return its callback URL."""
        program = find_program(self.program, self.package)
        port = free_port()
        values: dict[str, object] = {
            "folder": folder,
            "port": port,
            "upstream": upstreams[0],
            "second": upstreams[-1],
            "certificate": certificate,
        }
        filled = dict.fromkeys(("tls", "options", "defaults", "server", "more"), "") | {"scheme": "http"}
        filled |= {key: Template(value).substitute(filled | values) for key, value in self.values}
        file = folder / "proxy.conf"
        file.write_text(Template(self.config).substitute(filled | values), encoding="utf-8")
        arguments = [Template(argument).substitute(config=file) for argument in self.arguments]
        async with running([program, *arguments], port=port, folder=folder):
            yield f"{'https' if self.tls else 'http'}://127.0.0.1:{port}/wecom/bot"


def _nginx(site: str, **values: str) -> ReverseProxy:
    return ReverseProxy("nginx", "nginx", ("-c", "$config"), _NGINX.replace("$site", site), tuple(values.items()))


def _documented() -> str:
    """Return the first example for nginx in docs/operations.md, with the addresses of the test."""
    found = re.search(r"```nginx\n(.*?)```", _OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert "# listen, server_name, certificates" in found[1]
    site = found[1].replace("127.0.0.1:9886", "127.0.0.1:$upstream")
    return site.replace("# listen, server_name, certificates", "listen 127.0.0.1:$port;")


def _haproxy(**values: str) -> ReverseProxy:
    return ReverseProxy("haproxy", "haproxy", ("-db", "-f", "$config"), _HAPROXY, tuple(values.items()))


def _caddy(**values: str) -> ReverseProxy:
    arguments = ("run", "--adapter", "caddyfile", "--config", "$config")
    return ReverseProxy("caddy", "caddy", arguments, _CADDY, tuple(values.items()))


def _apache(**values: str) -> ReverseProxy:
    arguments = ("-D", "FOREGROUND", "-f", "$config")
    return ReverseProxy("apache2", "apache2-bin", arguments, _APACHE, tuple(values.items()))


REVERSE_PROXIES = {
    "nginx": _nginx(_NGINX_SITE),
    "nginx-documented": _nginx(_documented()),
    "nginx-http2": _nginx(_NGINX_SITE, tls=_NGINX_TLS),
    "haproxy": _haproxy(),
    "haproxy-health-checks": _haproxy(server="check inter 200ms"),
    "haproxy-http2": _haproxy(tls="ssl crt $certificate alpn h2,http/1.1"),
    "caddy": _caddy(),
    "caddy-http2": _caddy(scheme="https", tls="tls $certificate $certificate"),
    "apache": _apache(),
    "apache-http10": _apache(options="\nSetEnv force-proxy-request-1.0 1\nSetEnv proxy-nokeepalive 1"),
    "apache-ping": _apache(options="ping=1"),
    "apache-http2": _apache(tls=_APACHE_TLS),
}
"""Proxies in front of one gateway. Those with TLS offer HTTP/2 to their clients."""

FOR_REPLICAS = {
    "nginx": _nginx(_NGINX_REPLICAS),
    "haproxy": _haproxy(
        defaults="option redispatch 1\n    retries 2\n    retry-on conn-failure empty-response response-timeout 503",
        more="server second 127.0.0.1:$second",
    ),
}
"""Proxies that give another gateway what the first one refuses or does not answer."""
