"""What was seen, judged: one check each, by functions of their arguments. The URL check has a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maven_channel_wecom.config import WeComConfig

Outcome = Literal["ok", "warn", "fail"]

CONSOLE: Final = "the console says 回调地址请求不通过"
"""What an administrator reads when the URL does not pass."""

CLOCK_SECONDS: Final = 30.0
"""How far two clocks may be apart without a word. Lower: the whole seconds of `Date` and slow answers raise alarm."""

PortSeen = Literal["answers", "free", "silent", "not_allowed", "not_here"]

ProxySeen = Literal[
    # Only connected to:
    "answers", "no_name", "refused", "timeout",
    # A request was sent through it:
    "carries", "rewrites", "refuses", "too_slow", "breaks_tls", "loses",
]  # fmt: skip
"""How the proxy was found. `rewrites`: an answer came, and not the right one."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report; `channel` is empty for what concerns the whole host."""

    name: str
    channel: str
    outcome: Outcome
    detail: str


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """Where one secret comes from. `name` is that of a variable or a file; never the secret."""

    key: str
    place: Literal["environment", "file", "configuration"]
    name: str = ""


class StateSeen(msgspec.Struct, frozen=True, kw_only=True):
    """How the state was found. `detail` is the sentence of a failure, else empty."""

    kind: Literal["memory", "new_file", "file", "locked", "redis", "unusable"]
    detail: str = ""


def find_secrets(entry: Mapping[str, object], keys: Sequence[str]) -> list[Secret]:
    """Return where the secrets among `keys` of an entry come from; keys that are absent or empty have none."""
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


def judge_secrets(channel: str, secrets: Sequence[Secret], readers: Mapping[str, str]) -> Check:
    """Judge where secrets are kept.

    Args:
        channel: whose they are.
        secrets: where each comes from.
        readers: who else may read a file, by its name; that of the configuration is empty. A file that only its owner
            can read is absent.
    """
    sentences = []
    for secret in secrets:
        place = {
            "environment": f"from the environment variable {secret.name}",
            "file": f"from the file {secret.name}",
            "configuration": "written in the configuration",
        }[secret.place]
        sentences.append(f"{secret.key} {place}")
    exposed = {secret.name for secret in secrets if secret.place != "environment"} & readers.keys()
    warnings = [
        f"{f'the file {name}' if name else 'the configuration file'} may be read by {readers[name]}: take that away"
        for name in sorted(exposed)
    ]
    detail = "; ".join([", ".join(sentences) or "none", *warnings])
    return Check(name="secrets", channel=channel, outcome="warn" if warnings else "ok", detail=detail)


def judge_port(channel: str, seen: PortSeen, config: WeComConfig) -> Check:
    """Judge who listens for callbacks."""
    port = f"port {config.port}"
    detail = {
        "answers": f"something listens on {port}; the check of the local URL tells whether it is this channel",
        "free": f"nobody listens on {port}, the gateway is not running: start it and ask again ({CONSOLE})",
        "silent": f"{port} is taken, and nobody answers there: see which program has it, stop it or change port",
        "not_allowed": f"this user may not listen on {port}: use one from 1024 on, or give the right to",
        "not_here": f"the address under host is none of this machine's, so nobody can listen on {port}: correct it",
    }[seen]
    return Check(name="port", channel=channel, outcome="ok" if seen == "answers" else "fail", detail=detail)


def judge_gateway(channel: str, port: int, reasons: Sequence[str] | None) -> Check:
    """Judge what the gateway says of itself.

    Args:
        channel: one whose port somebody listens on.
        port: `gateway.port`.
        reasons: why it is not ready, nothing when it is; None when nobody answered as it does.
    """
    if reasons is None:
        detail = f"nobody answers on gateway.port {port}: was the gateway that runs started with this configuration?"
        return Check(name="gateway", channel=channel, outcome="warn", detail=detail)
    if reasons:
        detail = f"it says that it is not ready: {'; '.join(reasons)}"
        return Check(name="gateway", channel=channel, outcome="fail", detail=detail)
    detail = "it says that it is ready: it listens, and its state can be written"
    return Check(name="gateway", channel=channel, outcome="ok", detail=detail)


def judge_state(channel: str, seen: StateSeen, *, gateway_listens: bool) -> Check:
    """Judge the state; a file in use is right while the gateway runs."""
    outcome: Outcome = "ok"
    match seen.kind:
        case "memory":
            outcome, detail = "warn", "kept in memory: a restart loses the messages in hand; sqlite:PATH keeps them"
        case "new_file":
            detail = "there is no file yet, and its folder is writable"
        case "file":
            detail = "the file is healthy and writable"
        case "locked" if gateway_listens:
            detail = "the file is in use, as it is while the gateway runs"
        case "locked":
            outcome, detail = "warn", "the file is in use by another process, though nobody listens on the port"
        case "redis":
            detail = "Redis is reachable, new enough and writable"
        case _:
            outcome, detail = "fail", seen.detail
    return Check(name="state", channel=channel, outcome=outcome, detail=detail)


def judge_proxy(channel: str, seen: ProxySeen) -> Check:
    """Judge the proxy of replies and media. Its address is a secret."""
    detail = {
        "answers": "the proxy takes connections, nothing was sent through it (with --url a request is); replies and"
        " media go through it or not at all",
        "carries": "the URL check went through the proxy too, on the way that replies and media take, and the right"
        " text came back; none goes around it",
        "rewrites": "another answer than the right one came through the proxy: if public_url is ok, the proxy answers"
        " in its place; look at its log",
        "refuses": "the proxy does not pass a request on: compare its user and password, and see in its log what it"
        " lets through",
        "too_slow": "the proxy takes connections and does not get on in time: look at it and the way out from there",
        "breaks_tls": "TLS through the proxy fails: if public_url is ok, the proxy breaks it open; leave WeCom's hosts"
        " out of that, or let this machine trust the authority of the proxy",
        "loses": "a request went out through the proxy and no answer came back: look at its log",
        "no_name": "the name of the proxy cannot be resolved: correct it, or look at the name server",
        "refused": "the proxy takes no connection, so no reply would leave: start it, or correct its address",
        "timeout": "the proxy takes no connection in time, so no reply would leave: look at it and the way there",
    }[seen]
    outcome: Outcome = "ok" if seen in {"answers", "carries"} else "warn" if seen == "rewrites" else "fail"
    return Check(name="proxy", channel=channel, outcome=outcome, detail=detail)


def judge_address(channel: str, address: str) -> Check:
    """Judge an address that the public URL leads to and that is not public."""
    detail = (
        f"from here the public URL leads to {address}, which WeCom cannot reach: fine only if the name leads others"
        " to a public address"
    )
    return Check(name="address", channel=channel, outcome="warn", detail=detail)


def judge_clock(channel: str, skew_seconds: float | None, *, of_public: bool, max_skew_seconds: int) -> Check:
    """Judge this machine's clock.

    Args:
        channel: whose callbacks are judged by it.
        skew_seconds: how far the `Date` of an answer was ahead of it; None when the answer had none.
        of_public: the answer came from the public address; else from this machine, which says little.
        max_skew_seconds: the limit for callbacks; 0: there is none.
    """
    if skew_seconds is None:
        detail = "no answer said what time it is, so the clock could not be compared"
        return Check(name="clock", channel=channel, outcome="warn", detail=detail)
    apart = abs(skew_seconds)
    whose = "the public address" if of_public else "the local answer, most likely this very clock (--url shows another)"
    detail = f"{apart:.0f} s apart from that of {whose}"
    outcome: Outcome = "ok"
    if max_skew_seconds and apart > max_skew_seconds:
        outcome = "fail"
        detail += f", and maxSkewSeconds is {max_skew_seconds}: callbacks would be answered 401; set the clock (NTP)"
    elif apart > CLOCK_SECONDS:
        outcome = "warn"
        detail += ": set the clock (NTP), before maxSkewSeconds is"
    return Check(name="clock", channel=channel, outcome=outcome, detail=detail)
