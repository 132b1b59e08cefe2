"""The usable values of the setting `proxy`, and the problems reported for the others."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.transport.proxy import proxy_problem


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example",
        "http://proxy.example:3128/",
        "https://bot:p%40ss@proxy.example:443",
        "HTTP://proxy.example:3128",
        "socks5://127.0.0.1",
        "socks5h://bot:secret@[::1]:1080",
        "http://bot@proxy.example",
    ],
)
def test_a_usable_proxy_has_no_problem(proxy: str) -> None:
    assert proxy_problem(proxy) is None


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("", "must start with"),
        ("canary", "must start with"),
        ("canary:8080", "must start with"),
        ("ftp://canary", "must start with"),
        ("socks4://canary:1080", "must start with"),
        ("http://", "no host"),
        ("http://:3128", "URL"),
        ("http://canary:0", "no port"),
        ("http://canary:70000", "URL"),
        ("http://canary:web", "URL"),
        ("http://bot:can#ary@proxy.example:1", "percent-encoded"),
        ("http://[canary", "URL"),
        ("http://[::1]@", "URL"),
        ("http://bot:canäry@proxy.example", "ASCII"),
        (f"socks5://bot:{'canary' * 50}@proxy.example", "255"),
        ("socks5://canary@proxy.example", "without a password"),
        ("socks5h://:canary@proxy.example", "without a password"),
    ],
)
def test_an_unusable_proxy_is_explained_without_showing_it(proxy: str, words: str) -> None:
    """An Egress raises a ConfigError with the same text after the name of the key."""
    problem = proxy_problem(proxy)
    assert problem is not None
    assert words in problem
    assert "canary" not in problem
    assert "proxy.example" not in problem
    if proxy:
        with pytest.raises(ConfigError) as caught:
            Egress(proxy=proxy)
        assert caught.value.problems == (f"proxy {problem}",)


def test_a_socks_proxy_without_the_extra_names_the_command_that_installs_it() -> None:
    """Other proxies work without the extra."""
    program = (
        "import sys; sys.modules['aiohttp_socks'] = None\n"
        "from maven_channel_wecom.egress.egress import Egress\n"
        "from maven_channel_wecom.transport.proxy import proxy_problem\n"
        "Egress(proxy='http://proxy.example:3128')\n"
        "print(proxy_problem('socks5h://bot:canary@proxy.example'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    (needed,) = (each.partition(";")[0].strip() for each in requires("maven-channel-wecom") or () if "socks" in each)
    # Package metadata may sort the bounds differently.
    stated = done.stdout.partition("pip install '")[2].partition("'")[0]
    assert Requirement(stated) == Requirement(needed)
    assert "canary" not in done.stdout
