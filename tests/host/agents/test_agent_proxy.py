"""The proxy of the environment through which an agent is reached."""

from __future__ import annotations

import pytest
from yarl import URL

from maven_channel_wecom.host.agents.agent_proxy import AgentProxy, choose_proxy, environment_problem, is_direct

PASSWORD = "canary-key-4711"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://agent.example/", {}, None),
        ("https://agent.example/", {"HTTPS_PROXY": PROXY}, (PROXY, "HTTPS_PROXY")),
        ("https://agent.example/", {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, (PROXY, "https_proxy")),
        ("https://agent.example/", {"HTTP_PROXY": PROXY}, None),
        ("http://agent.example/", {"HTTP_PROXY": PROXY}, (PROXY, "HTTP_PROXY")),
        ("http://agent.example/", {"http_proxy": PROXY, "all_proxy": "http://other"}, (PROXY, "http_proxy")),
        ("http://agent.example/", {"ALL_PROXY": "socks5h://p:1080"}, ("socks5h://p:1080", "ALL_PROXY")),
        ("http://agent.example/", {"http_proxy": " ", "ALL_PROXY": PROXY}, (PROXY, "ALL_PROXY")),
        ("http://agent.example/", {"HTTP_PROXY": " proxy.example:3128\n"}, (PROXY, "HTTP_PROXY")),
        ("http://agent.example/", {"HTTP_PROXY": PROXY, "NO_PROXY": "agent.example"}, None),
        (
            "http://agent.example/",
            {"HTTP_PROXY": PROXY, "no_proxy": "other.example", "NO_PROXY": "*"},
            (PROXY, "HTTP_PROXY"),
        ),
        ("http://127.0.0.1:8000/", {"HTTP_PROXY": PROXY}, None),
        ("http://[::1]:8000/", {"ALL_PROXY": PROXY}, None),
        ("http://localhost./", {"ALL_PROXY": PROXY}, None),
    ],
)
def test_the_environment_names_the_proxy(url: str, environment: dict[str, str], proxy: tuple[str, str] | None) -> None:
    assert choose_proxy("", URL(url), environment) == (proxy and AgentProxy(*proxy))


def test_the_proxy_of_the_key_is_used_for_every_agent() -> None:
    environment = {"HTTP_PROXY": "http://other", "NO_PROXY": "*"}
    assert choose_proxy(PROXY, URL("http://127.0.0.1/"), environment) == AgentProxy(PROXY, "agent.proxy")


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://agent.example/", "", False),
        ("https://agent.example/", "*", True),
        ("https://agent.example/", "other.example, agent.example", True),
        ("https://agent.example/", "Agent.Example.", True),
        ("https://api.agent.example/", "agent.example", True),
        ("https://api.agent.example/", ".agent.example", True),
        ("https://api.agent.example/", "*.agent.example", True),
        ("https://myagent.example/", "agent.example", False),
        ("https://agent.example:8443/", "agent.example:8443", True),
        ("https://agent.example:8443/", "agent.example:443", False),
        ("https://agent.example/", "agent.example:443", True),
        ("http://10.1.2.3:8000/", "10.0.0.0/8", True),
        ("http://10.1.2.3:8000/", "10.1.2.3", True),
        ("http://10.1.2.3:8000/", "10.1.2.3:80", False),
        ("http://10.1.2.3:8000/", "11.0.0.0/8 10.1.2", False),
        ("http://[fd00::1]:8000/", "fd00::/8", True),
        ("http://[fd00::1]:8000/", "[fd00::1]", True),
        ("http://[fd00::1]:8000/", "[fd00::1]:8000", True),
        ("http://[fd00::1]:8000/", "[fd00::1]:80,.", False),
    ],
)
def test_no_proxy_lists_what_is_reached_directly(url: str, no_proxy: str, *, direct: bool) -> None:
    assert is_direct(URL(url), no_proxy) is direct


def test_a_proxy_that_cannot_be_used_is_explained_without_showing_it() -> None:
    proxy = AgentProxy(f"socks4://bot:{PASSWORD}@proxy.example", "ALL_PROXY")
    problem = environment_problem(proxy)
    assert problem is not None
    assert "the proxy of the environment variable ALL_PROXY, which must start with http://" in problem
    assert PASSWORD not in problem + repr(proxy)
    assert environment_problem(AgentProxy(PROXY, "ALL_PROXY")) is None
    # The key is checked when it is read.
    assert environment_problem(AgentProxy("socks4://proxy.example", "agent.proxy")) is None
