"""Requests that other web pages cause are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.guard import HEADERS, TOKEN_HEADER, Guard

if TYPE_CHECKING:
    from tests.playground.conftest import Site


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:1", "LOCALHOST", "[::1]:80", "10.0.0.7", "box.lan:80"])
def test_addresses_and_own_names_are_own_hosts(host: str) -> None:
    assert Guard("box.lan").is_own_host(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "", "[::1", "a]"]
)
def test_other_names_are_foreign_because_their_dns_may_point_here(host: str) -> None:
    assert not Guard("127.0.0.1").is_own_host(host)


async def test_a_foreign_host_is_answered_421(site: Site) -> None:
    async with site.session.get(site.url, headers={"Host": "evil.example"}) as response:
        assert response.status == 421


@pytest.mark.parametrize(
    ("origin", "token"),
    [("http://evil.example", True), ("", True), ("null", True), ("own", False)],
    ids=["another site", "no origin", "sandbox", "no token"],
)
async def test_a_post_of_another_page_is_answered_403(site: Site, origin: str, *, token: bool) -> None:
    headers = {"Origin": site.url if origin == "own" else origin, TOKEN_HEADER: site.token if token else "guess"}
    if not origin:
        del headers["Origin"]
    async with site.session.post(f"{site.url}/actions", data={"action": "check"}, headers=headers) as response:
        assert response.status == 403


async def test_every_answer_forbids_foreign_content(site: Site) -> None:
    for path in ("/", "/web/page.js", "/bot", "/nothing"):
        async with site.session.get(site.url + path) as response:
            assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    directives = HEADERS["Content-Security-Policy"].split("; ")
    # `default-src` does not cover the last two.
    assert {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(directives)


async def test_the_page_holds_no_script_or_style_of_its_own(site: Site) -> None:
    page = await site.get("/")
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script src="/web/page.js"') == 1
    assert " onclick" not in page
