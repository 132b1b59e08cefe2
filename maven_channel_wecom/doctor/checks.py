"""Judges what the probes found: pure functions that return one `Check` each, and `find_secrets`.

`url_check` judges the URL check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from maven_channel_wecom.egress.addresses import is_made_up
from maven_channel_wecom.transport.proxy_failures import PROXY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maven_channel_wecom.config import WeComConfig

CheckOutcome = Literal["ok", "warn", "fail"]

CONSOLE_ERROR: Final = "the console says 回调地址请求不通过"
"""The error that an administrator reads in WeCom's console when the URL check fails."""

CLOCK_SECONDS: Final = 30.0
"""Maximum difference between two clocks without a warning, in seconds. Lower: the whole seconds of `Date` and slow
answers cause false warnings."""

_PROVIDED: Final = ("/run/secrets/", "/run/credentials/")

PortFinding = Literal["accepts", "free", "in_use", "not_allowed", "not_local"]
"""The result of probing a port. `in_use`: it is taken, and no connection to it succeeds."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `channel` is empty if the check concerns the whole host."""

    name: str
    channel: str
    outcome: CheckOutcome
    detail: str


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """Where one secret comes from. `name` is the name of the variable or file, never the secret itself."""

    key: str
    place: Literal["environment", "file", "configuration"]
    name: str = ""


class StateFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of probing the state.

    `detail` explains a risk or a failure, is the version of an older file (0 if it is empty), and is empty otherwise.
    """

    kind: Literal["memory", "new_file", "file", "older_file", "locked", "redis", "risk", "unusable"]
    detail: str = ""


class ProxyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of probing a proxy. `detail` explains why it is unusable and is empty otherwise."""

    kind: Literal[
        # From a connection only:
        "accepts", "timeout",
        # From a request sent through it:
        "works", "wrong_answer", "too_slow", "tls_failed", "no_answer",
        # From either:
        "unusable",
    ]  # fmt: skip
    detail: str = ""


def find_secrets(entry: Mapping[str, object], keys: Sequence[str]) -> list[Secret]:
    """Return where the secrets under `keys` of an entry come from. Absent and empty keys are left out."""
    found = []
    for key in keys:
        match entry.get(key):
            case {"env": str(name)}:
                found.append(Secret(key=key, place="environment", name=name))
            case {"file": str(path)}:
                found.append(Secret(key=key, place="file", name=path))
            case str(text) if text:
                found.append(Secret(key=key, place="configuration"))
    return found


_AGENT_FAILURES: Final = {
    "refused": "nothing listens there: start the agent, or correct agent.url",
    "dns": "its name cannot be resolved: correct agent.url, or the name server of this machine",
    "tls": "its TLS handshake fails: check its certificate, whether agent.url must begin with http://, and, for an"
    " authority of your own, SSL_CERT_FILE",
    "connect": "it cannot be reached from this machine: check the network and its firewall",
    "connect_timeout": "it does not accept a connection in time: check the network and its firewall",
    "http_401": "it refuses the key: correct agent.apiKey",
    "http_403": "it refuses the key, or this machine: correct agent.apiKey, or look in its log",
    "http_404": "it has nothing at this address: correct agent.url",
    "http_405": "it accepts no messages at this address: correct agent.url",
    "timeout": "it does not answer in time: look in its log",
    "malformed": "it answers with a web page: correct agent.url",
} | {f"proxy_{cause}": sentence for cause, sentence in PROXY.items()}


def judge_agent(origin: str, failure: str, code: str, proxy_source: str) -> Check:
    """Judge whether the agent can be reached, and how it answers a request without a message.

    Args:
        origin: scheme, host and port of the agent.
        failure: the reason why it does not answer as expected, empty if it does.
        code: the code of that failure; of `other_api`, the type of the API that the agent has.
        proxy_source: the key or the environment variable with the proxy for the agent, empty without a proxy.
    """
    detail = f"{origin} answers"
    if failure == "other_api":
        detail = f'{origin} has another API at this address: set agent.type to "{code}", or correct agent.url'
    elif failure:
        redirects = "it redirects to another address: enter that one as agent.url"
        cause = redirects if failure.startswith("http_3") else "the connection breaks: look in its log"
        detail = f"{origin} cannot be used: {_AGENT_FAILURES.get(failure, cause)}"
    if proxy_source:
        detail += f" (through the proxy of {proxy_source})"
    return Check(name="agent", channel="", outcome="fail" if failure else "ok", detail=detail)


def judge_secrets(channel: str, secrets: Sequence[Secret], readers: Mapping[str, str]) -> Check:
    """Judge where secrets are kept.

    Args:
        channel: the channel that the secrets belong to.
        secrets: where each secret comes from.
        readers: who besides the owner may read a file, by file name; the empty name is the configuration file. A file
            that only its owner can read is absent. Files in `/run/secrets` and `/run/credentials` are not judged:
            container engines and systemd put them there with modes of their own, and nobody else gets there.
    """
    sentences = []
    for secret in secrets:
        place = {
            "environment": f"from the environment variable {secret.name}",
            "file": f"from the file {secret.name}",
            "configuration": "written in the configuration",
        }[secret.place]
        sentences.append(f"{secret.key} {place}")
    files = {secret.name for secret in secrets if secret.place != "environment"}
    exposed = {name for name in files & readers.keys() if not name.startswith(_PROVIDED)}
    warnings = [
        f"{f'the file {name}' if name else 'the configuration file'} is readable by {readers[name]}:"
        " remove that permission"
        for name in sorted(exposed)
    ]
    detail = "; ".join([", ".join(sentences) or "none", *warnings])
    return Check(name="secrets", channel=channel, outcome="warn" if warnings else "ok", detail=detail)


def judge_port(channel: str, finding: PortFinding, config: WeComConfig) -> Check:
    """Judge the callback port."""
    port = f"port {config.port}"
    detail = {
        "accepts": f"something listens on {port}; the check local_url shows whether it is this channel",
        "free": f"nothing listens on {port}: the gateway is not running; start it and run this again ({CONSOLE_ERROR})",
        "in_use": f"{port} is in use, but connections to it fail: find and stop the program, or choose another port",
        "not_allowed": f"this user may not listen on {port}: choose one from 1024 up, or grant the permission",
        "not_local": f"the address in host is not one of this machine, so nothing can listen on {port}: correct it",
    }[finding]
    if finding == "accepts" and config.host == "0.0.0.0":  # noqa: S104 - only compared with, never bound to
        detail += '. It listens on IPv4 only; host "::" would include IPv6'
    return Check(name="port", channel=channel, outcome="ok" if finding == "accepts" else "fail", detail=detail)


def judge_gateway(channel: str, port: int, reasons: Sequence[str] | None) -> Check:
    """Judge what the gateway reports about its readiness.

    Args:
        channel: a channel whose callback port accepts connections.
        port: `gateway.port`.
        reasons: why the gateway is not ready, empty if it is; None if no gateway answered.
    """
    if reasons is None:
        detail = f"no gateway answers on gateway.port {port}: was the running one started with this configuration?"
        return Check(name="gateway", channel=channel, outcome="warn", detail=detail)
    if reasons:
        detail = f"it reports that it is not ready: {'; '.join(reasons)}"
        return Check(name="gateway", channel=channel, outcome="fail", detail=detail)
    detail = "it reports that it is ready: it listens, and its state is writable"
    return Check(name="gateway", channel=channel, outcome="ok", detail=detail)


def judge_state(channel: str, finding: StateFinding, *, gateway_listens: bool) -> Check:
    """Judge the state. A file in use is expected while the gateway listens, and suspicious otherwise."""
    outcome: CheckOutcome = "ok"
    match finding.kind:
        case "memory":
            outcome, detail = "warn", "kept in memory: a restart loses the messages in progress; sqlite:PATH keeps them"
        case "new_file":
            detail = "the file does not exist yet, and its folder is writable"
        case "file":
            detail = "the file is healthy and writable"
        case "older_file" if finding.detail == "0":
            detail = "the file is empty, the gateway will set it up when it starts"
        case "older_file":
            detail = f"the file has the older version {finding.detail}, the gateway will migrate it when it starts"
        case "locked" if gateway_listens:
            detail = "the file is in use, as expected while the gateway runs"
        case "locked":
            outcome, detail = "warn", "the file is in use by another process, but nothing listens on the port"
        case "redis":
            detail = "Redis is reachable, new enough and runs the scripts of the gateway"
        case "risk":
            outcome, detail = "warn", finding.detail
        case _:
            outcome, detail = "fail", finding.detail
    return Check(name="state", channel=channel, outcome=outcome, detail=detail)


def judge_memory(finding: StateFinding) -> Check:
    """Judge where the host stores what it remembers of chats."""
    detail = {
        "memory": "kept in memory: a restart forgets what was said; sqlite:PATH keeps it",
        "new_file": "the file does not exist yet, and its folder is writable",
        "file": "the file is healthy and writable",
        "locked": "the file is in use, as expected while the gateway runs",
    }.get(finding.kind, finding.detail)
    outcome: CheckOutcome = "fail" if finding.kind == "unusable" else "ok"
    return Check(name="memory", channel="", outcome=outcome, detail=detail)


def judge_proxy(channel: str, finding: ProxyFinding) -> Check:
    """Judge the proxy for replies and media. The check does not show its address, which is a secret."""
    detail = {
        "accepts": "the proxy answers, but no request was sent through it (--url sends one); replies and"
        " media never bypass it",
        "works": "the URL check also went through the proxy, as replies and media do, and the right text came back;"
        " replies and media never bypass it",
        "wrong_answer": "the answer that came through the proxy is not the right one: if public_url is ok, the proxy"
        " answers in its place; look at its log",
        "too_slow": "the proxy accepts connections, but makes none to the URL in time: check the proxy and its network",
        "tls_failed": "TLS through the proxy fails: if public_url is ok, the proxy intercepts TLS; exempt WeCom's hosts"
        " from that, or make this machine trust the certificate authority of the proxy",
        "no_answer": "a request went out through the proxy and no answer came back: look at its log",
        "timeout": "the proxy does not accept a connection in time, so no reply can leave: check it and the network in"
        " between",
        "unusable": f"no reply can leave: {finding.detail}",
    }[finding.kind]
    outcome: CheckOutcome = "ok" if finding.kind in {"accepts", "works"} else "fail"
    if finding.kind == "wrong_answer":
        outcome = "warn"
    return Check(name="proxy", channel=channel, outcome=outcome, detail=detail)


def judge_address(channel: str, address: str, *, has_proxy: bool) -> Check:
    """Judge a public URL that leads to `address`, which is not public."""
    if not is_made_up(address):
        detail = (
            f"from this machine the public URL leads to {address}, which WeCom cannot reach: this is fine only if the"
            " name leads to a public address elsewhere"
        )
        return Check(name="address", channel=channel, outcome="warn", detail=detail)
    detail = f"a local proxy answers names on this machine with made-up addresses such as {address}"
    if has_proxy:
        return Check(name="address", channel=channel, outcome="ok", detail=f"{detail}, and proxy is set")
    detail += ", so replies and media would be refused as not public: set proxy to the port of that proxy"
    return Check(name="address", channel=channel, outcome="fail", detail=detail)


def judge_clock(channel: str, skew_seconds: float | None, *, of_public: bool, max_skew_seconds: int) -> Check:
    """Judge this machine's clock.

    Args:
        channel: the channel that compares its callbacks with this clock.
        skew_seconds: how far the `Date` of an answer was ahead of this clock; None if the answer had none.
        of_public: whether the answer came from the public address. One from this machine proves little.
        max_skew_seconds: `maxSkewSeconds` of the channel; 0 means no limit.
    """
    if skew_seconds is None:
        detail = "the answer had no usable Date header, so the clock could not be compared"
        return Check(name="clock", channel=channel, outcome="warn", detail=detail)
    apart = abs(skew_seconds)
    whose = "the public address" if of_public else "the local answer, most likely the same clock (--url shows another)"
    detail = f"it differs by {apart:.0f} s from the clock of {whose}"
    outcome: CheckOutcome = "ok"
    if max_skew_seconds and apart > max_skew_seconds:
        outcome = "fail"
        detail += f", and maxSkewSeconds is {max_skew_seconds}: callbacks would be answered 401; set the clock (NTP)"
    elif apart > CLOCK_SECONDS:
        outcome = "warn"
        detail += ": set the clock (NTP); maxSkewSeconds relies on it"
    return Check(name="clock", channel=channel, outcome=outcome, detail=detail)
