"""The examination of a configuration: which checks there are, in which order, which only after others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.config import KEYS, TYPE, read_config
from maven_channel_wecom.doctor import checks, keeping, probing, proxy_probe
from maven_channel_wecom.doctor.checks import Check
from maven_channel_wecom.doctor.url_check import Answer, judge_url_check, seal_check
from maven_channel_wecom.egress.addresses import is_forbidden
from maven_channel_wecom.host.plugins import channel_problems
from maven_channel_wecom.state.redis.address import is_redis, parse_redis_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pluggy
    from yarl import URL

    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.doctor.url_check import NoAnswer
    from maven_channel_wecom.host.configuration import Gateway

LOCAL_URL: Final = "local_url"
PUBLIC_URL: Final = "public_url"

_SECRETS: Final = tuple(key.name for key in KEYS if key.type == "secret")


def is_wecom(name: str, entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of `channels` is of this type, as the plugin does."""
    return bool(entry.get("type", name) == TYPE)


def examine_host(path: Path, agent: object) -> Iterator[Check]:
    """Check where the agent's key is kept, when it has one. `agent` is what stands in the configuration file `path`."""
    if isinstance(agent, dict) and (secrets := checks.find_secrets(agent, ("apiKey",))):
        yield checks.judge_secrets("", secrets, _readers(path, secrets))


def examine_entry(name: str, entry: Mapping[str, Any], path: Path, plugins: pluggy.PluginManager) -> Iterator[Check]:
    """Check one entry of the configuration file `path`, of any type, by itself."""
    problems = channel_problems(plugins, {name: entry})
    for problem in problems:
        yield Check(name="configuration", channel=name, outcome="fail", detail=problem)
    if problems:
        return
    if not is_wecom(name, entry):
        detail = "no problem; it is not of type wecom, so that is all there is to say"
        yield Check(name="configuration", channel=name, outcome="ok", detail=detail)
        return
    config = read_config(name, entry)
    if config.obsolete:
        detail = f"no problem, but {', '.join(config.obsolete)} has no effect any more: take it out"
        yield Check(name="configuration", channel=name, outcome="warn", detail=detail)
    else:
        detail = "no problem; EncodingAESKey has 43 characters and decodes to 32 bytes"
        yield Check(name="configuration", channel=name, outcome="ok", detail=detail)
    if not config.credentials[0].token.isalnum():
        detail = (
            "it has other characters than letters and digits, as no token of the console has: was a placeholder left?"
        )
        yield Check(name="token", channel=name, outcome="warn", detail=detail)
    secrets = checks.find_secrets(entry, _SECRETS)
    state = entry.get("state", "")
    if is_redis(state) and parse_redis_address(state).password:
        secrets.append(checks.Secret(key="state", place="configuration"))
    yield checks.judge_secrets(name, secrets, _readers(path, secrets))


async def examine_channel(
    name: str, config: WeComConfig, gateway: Gateway, probe: probing.UrlProbe, public: URL | None
) -> list[Check]:
    """Check what surrounds a channel whose configuration has no problem; `public` is the URL the console knows."""
    found: list[Check] = []
    answers: dict[str, Answer | NoAnswer] = {}
    listens = False
    if config.port:
        port = await asyncio.to_thread(probing.probe_port, config.host, config.port)
        listens = port == "answers"
        found.append(checks.judge_port(name, port, config))
    else:
        detail = "port is 0, so only the gateway's log knows it and the local URL was not checked: choose one"
        found.append(Check(name="port", channel=name, outcome="warn", detail=detail))
    if listens and gateway.port:
        reasons = await probe.ask_readiness(gateway.host, gateway.port)
        found.append(checks.judge_gateway(name, gateway.port, reasons))
    state = await keeping.probe_state(config.state, channel=name)
    found.append(checks.judge_state(name, state, gateway_listens=listens or not config.port))
    urls = {LOCAL_URL: probing.local_url(config.host, config.port, config.path)} if listens else {}
    if public is not None:
        urls[PUBLIC_URL] = public
    for check_name, url in urls.items():
        check = seal_check(config, timestamp=int(probe.clock.wall()), random=os.urandom)
        answers[check_name] = seen = await probe.ask(url, check.query)
        found.append(judge_url_check(check_name, name, check.echo, seen, path=config.path))
        if check_name == PUBLIC_URL and isinstance(seen, Answer) and is_forbidden(seen.address):
            found.append(checks.judge_address(name, seen.address))
    if config.proxy:
        found.append(checks.judge_proxy(name, await _see_proxy(config, config.proxy, probe, public)))
    found += _judge_clock(name, config, answers)
    return found


async def _see_proxy(config: WeComConfig, proxy: str, probe: probing.UrlProbe, public: URL | None) -> checks.ProxySeen:
    """Connect to the proxy, and send a request through it when there is an address that may be asked for."""
    seen = await proxy_probe.connect_to_proxy(proxy)
    if seen != "answers" or public is None:
        return seen
    check = seal_check(config, timestamp=int(probe.clock.wall()), random=os.urandom)
    return await proxy_probe.ask_through_proxy(proxy, probe, public, check)


def _judge_clock(name: str, config: WeComConfig, answers: Mapping[str, Answer | NoAnswer]) -> Iterator[Check]:
    """Compare clocks by the answer from furthest away; without any answer there is nothing to compare."""
    for check_name in (PUBLIC_URL, LOCAL_URL):
        answer = answers.get(check_name)
        if isinstance(answer, Answer):
            yield checks.judge_clock(
                name,
                answer.skew_seconds,
                of_public=check_name == PUBLIC_URL,
                max_skew_seconds=config.max_skew_seconds,
            )
            return


def _readers(path: Path, secrets: list[checks.Secret]) -> dict[str, str]:
    """Return who may read each file that holds a secret; the configuration file `path` has the empty name."""
    files = {secret.name: Path(secret.name) if secret.name else path for secret in secrets}
    return {name: who for name, file in files.items() if (who := keeping.readers(file))}
