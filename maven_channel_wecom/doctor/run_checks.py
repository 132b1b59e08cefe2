"""Runs the checks: probes and judges in the right order, and skips a check whose precondition failed."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.config import KEYS, is_wecom, read_config, state_address
from maven_channel_wecom.doctor import checks, probing, proxy_probe, state_probe
from maven_channel_wecom.doctor.checks import Check
from maven_channel_wecom.doctor.url_check import (
    NoAnswer,
    UrlCheckAnswer,
    is_own_error,
    is_right,
    judge_url_check,
    make_refused_post,
    seal_check,
)
from maven_channel_wecom.egress.addresses import is_forbidden
from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.host.agents.http_agent import HttpAgent
from maven_channel_wecom.host.plugins import channel_problems
from maven_channel_wecom.state.redis.address import is_redis, parse_redis_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pluggy
    from yarl import URL

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.host.configuration import AgentSettings, Configuration, Gateway

LOCAL_URL: Final = "local_url"
"""Name of the check of the URL on this machine."""

PUBLIC_URL: Final = "public_url"
"""Name of the check of the URL that WeCom calls."""

_SECRETS: Final = tuple(key.name for key in KEYS if key.type == "secret")


def check_host(path: Path, agent: object) -> Iterator[Check]:
    """Check where the agent's secrets are stored, if it has some. `agent` is that section of the file `path`."""
    if not isinstance(agent, dict):
        return
    # A URL that is written in the file rarely has a key in it.
    keys = ["apiKey", "proxy"] if isinstance(agent.get("url"), str) else ["url", "apiKey", "proxy"]
    if secrets := checks.find_secrets(agent, keys):
        yield checks.judge_secrets("", secrets, _readers(path, secrets))


async def check_agent(settings: AgentSettings) -> Check:
    """Check whether the agent can be reached and has the right API. Sends no message."""
    agent = HttpAgent(settings)
    try:
        failure = await agent.inspect()
    finally:
        await agent.close()
    facts = failure.facts if failure else {}
    source = settings.proxy.source if settings.proxy else ""
    return checks.judge_agent(agent.origin, facts.get("reason", ""), facts.get("code", ""), source)


async def check_memory(configuration: Configuration, probe: probing.UrlProbe) -> Check:
    """Check whether the host can store what it remembers of chats."""
    gateway = configuration.gateway
    runs = bool(gateway.port) and await probe.get_readiness(gateway.host, gateway.port) is not None
    return checks.judge_memory(await state_probe.probe_memory(configuration.sessions.memory_state, gateway_runs=runs))


def check_replicas(entries: Mapping[str, Mapping[str, Any]], memory: str) -> Iterator[Check]:
    """Warn of channels whose replicas remember chats apart from each other. `memory` is that key of `agent`."""
    for name, entry in entries.items():
        if memory == "messages" and is_wecom(name, entry) and _is_shared(name, entry):
            detail = (
                "processes can share the state of this channel, but each remembers only the turns that it ran itself:"
                " with several replicas, set agent.memory to server or previous_response_id"
            )
            yield Check(name="memory", channel=name, outcome="warn", detail=detail)


def check_entry(name: str, entry: Mapping[str, Any], path: Path, plugins: pluggy.PluginManager) -> Iterator[Check]:
    """Check one entry of `channels`, of any type, by itself. `path` is the configuration file."""
    problems = channel_problems(plugins, {name: entry})
    for problem in problems:
        yield Check(name="configuration", channel=name, outcome="fail", detail=problem)
    if problems:
        return
    if not is_wecom(name, entry):
        detail = "no problem; it is not of type wecom, so nothing else is checked"
        yield Check(name="configuration", channel=name, outcome="ok", detail=detail)
        return
    config = read_config(name, entry)
    if config.obsolete:
        detail = f"no problem, but {', '.join(config.obsolete)} no longer has an effect: remove it"
        yield Check(name="configuration", channel=name, outcome="warn", detail=detail)
    else:
        detail = "no problem; EncodingAESKey has 43 characters and decodes to 32 bytes"
        yield Check(name="configuration", channel=name, outcome="ok", detail=detail)
    token = config.credentials[0].token
    if not (token.isascii() and token.isalnum()):
        detail = (
            "it contains characters other than letters and digits; tokens from the console never do: is it a"
            " placeholder?"
        )
        yield Check(name="token", channel=name, outcome="warn", detail=detail)
    has_password = is_redis(config.state) and bool(parse_redis_address(config.state).password)
    hides_state = has_password or isinstance(entry.get("state"), dict)
    secrets = checks.find_secrets(entry, [key for key in _SECRETS if key != "state" or hides_state])
    yield checks.judge_secrets(name, secrets, _readers(path, secrets))


def _is_shared(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether processes can share the state of an entry; False if its address has a problem."""
    try:
        return is_redis(state_address(name, entry))
    except ConfigError:
        return False


async def check_channel(
    name: str, config: WeComConfig, gateway: Gateway, probe: probing.UrlProbe, public: URL | None
) -> list[Check]:
    """Check the surroundings of a channel whose configuration is valid. `public` is the URL in WeCom's console."""
    found: list[Check] = []
    answers: dict[str, UrlCheckAnswer | NoAnswer] = {}
    listens = False
    if config.port:
        finding = await asyncio.to_thread(probing.probe_port, config.host, config.port)
        listens = finding == "accepts"
        found.append(checks.judge_port(name, finding, config))
    else:
        detail = (
            "port is 0, so only the gateway's log shows which one is used, and local_url was not checked: choose one"
        )
        found.append(Check(name="port", channel=name, outcome="warn", detail=detail))
    if listens and gateway.port:
        reasons = await probe.get_readiness(gateway.host, gateway.port)
        found.append(checks.judge_gateway(name, gateway.port, reasons))
    state = await state_probe.probe_state(config.state, channel=name)
    found.append(checks.judge_state(name, state, gateway_listens=listens or not config.port))
    urls = {LOCAL_URL: probing.local_url(config.host, config.port, config.path)} if listens else {}
    if public is not None:
        urls[PUBLIC_URL] = public
    for check_name, url in urls.items():
        verdict, answers[check_name] = await _check_url(check_name, name, config, probe, url)
        found.append(verdict)
    address = answers[PUBLIC_URL].address if PUBLIC_URL in answers else ""
    if address and is_forbidden(address):
        found.append(checks.judge_address(name, address, has_proxy=config.proxy is not None))
    if config.proxy:
        found.append(checks.judge_proxy(name, await _probe_proxy(config, config.proxy, probe, public)))
    found += _judge_clock(name, config, answers)
    return found


async def _check_url(
    check_name: str, channel: str, config: WeComConfig, probe: probing.UrlProbe, url: URL
) -> tuple[Check, UrlCheckAnswer | NoAnswer]:
    """Send a URL check, and what else it takes to explain its answer. Return the verdict and the answer."""
    timestamp = int(probe.clock.wall())
    check = seal_check(config, timestamp=timestamp, random=os.urandom)
    answer = await probe.get(url, check.query)
    post = browser = None
    if is_right(answer, check.echo) or is_own_error(answer, 400):
        refused = make_refused_post(timestamp=timestamp, random=os.urandom)
        post = await probe.post(url, refused.query, refused.body)
    elif isinstance(answer, UrlCheckAnswer) and not is_own_error(answer):
        browser = await probe.get(url, check.query, user_agent=probing.BROWSER_USER_AGENT)
    verdict = judge_url_check(check_name, channel, check.echo, answer, path=config.path, post=post, browser=browser)
    return verdict, answer


async def _probe_proxy(
    config: WeComConfig, proxy: str, probe: probing.UrlProbe, public: URL | None
) -> checks.ProxyFinding:
    """Connect to the proxy and, if a public URL is given, send a request to it through the proxy."""
    finding = await proxy_probe.connect_to_proxy(proxy, tls=probe.tls)
    if finding.kind != "accepts" or public is None:
        return finding
    check = seal_check(config, timestamp=int(probe.clock.wall()), random=os.urandom)
    return await proxy_probe.send_through_proxy(proxy, probe, public, check)


def _judge_clock(name: str, config: WeComConfig, answers: Mapping[str, UrlCheckAnswer | NoAnswer]) -> Iterator[Check]:
    """Compare clocks by the answer of the public URL, otherwise of the local one; without an answer, yield nothing."""
    for check_name in (PUBLIC_URL, LOCAL_URL):
        answer = answers.get(check_name)
        if isinstance(answer, UrlCheckAnswer):
            yield checks.judge_clock(
                name,
                answer.skew_seconds,
                of_public=check_name == PUBLIC_URL,
                max_skew_seconds=config.max_skew_seconds,
            )
            return


def _readers(path: Path, secrets: list[checks.Secret]) -> dict[str, str]:
    """Return who besides the owner may read each file with secrets. The empty name is the configuration file `path`."""
    files = {secret.name: Path(secret.name) if secret.name else path for secret in secrets}
    return {name: who for name, file in files.items() if (who := _readers_of(file))}


def _readers_of(path: Path) -> str:
    """Return who besides the owner may read a file; empty if no one else may."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return " and by ".join(
        who for right, who in ((stat.S_IRGRP, "its group"), (stat.S_IROTH, "everybody")) if mode & right
    )
