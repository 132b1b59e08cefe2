"""The configuration of one channel: every problem at once, and no secret in any `repr` or sentence.

Facts of WeCom live in `protocol.limits`; the numbers here are choices.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from maven_channel_wecom import config_values as values
from maven_channel_wecom.egress.proxy import proxy_problem
from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.policy.admission import AdmissionRules
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.state.opening import MEMORY, address_problem

TYPE: Final = "wecom"

EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - WeCom calls from the internet, usually through a proxy on another machine

Overflow = Literal["truncate", "continue"]

_NOBODY: Final[tuple[str, ...]] = ()
_KEYS: Final = (
    "enabled",
    "type",
    "token",
    "encodingAESKey",
    "receiveId",
    "host",
    "port",
    "path",
    "allowFrom",
    "allowGroups",
    "botIds",
    "mentionNames",
    "proxy",
    "allowPrivateNetwork",
    "state",
    "overflow",
    "maxSkewSeconds",
    "previousToken",
    "previousEncodingAESKey",
    "inboxLimit",
    "mediaLimitBytes",
    "shortPath",
    "drainSeconds",
)


class WeComConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A channel's settings, checked. `credentials` holds the current ones first, then what a rotation still accepts."""

    credentials: tuple[Credentials, ...]
    receive_id: str = ""
    host: str = EVERY_INTERFACE
    port: int = 9886
    path: str = "/wecom/bot"
    rules: AdmissionRules = AdmissionRules()
    mention_names: tuple[str, ...] = ()
    proxy: str | None = None
    allow_private_network: bool = False
    state: str = MEMORY
    overflow: Overflow = "truncate"
    # Off: WeCom documents no limit, and a repeat is recognized by its id. On, a clock that is wrong loses messages.
    max_skew_seconds: int = 0
    # Higher: more memory while an agent hangs (a message holds at most 1 MiB beside its media). Lower: 503 sooner.
    inbox_limit: int = 1_000
    # Higher: more memory while an agent hangs. Lower: pictures wait, and are not to be had after five minutes of it.
    media_limit_bytes: int = 256 * 1024 * 1024
    # Off: every callback takes aiohttp's way, which is slower and answers alike.
    short_path: bool = True
    # Lower: answers being written at a stop are cut off; higher: a stop takes longer than its supervisor waits.
    drain_seconds: float = 10.0

    def __repr__(self) -> str:
        return f"<WeComConfig {self.host}:{self.port}{self.path}>"


def problems(name: str, raw: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the entry `channels.<name>`, one sentence for each problem, empty when all is well."""
    try:
        read_config(name, raw)
    except ConfigError as error:
        return list(error.problems)
    return []


def read_config(name: str, raw: Mapping[str, Any]) -> WeComConfig:
    """Read the raw mapping under `channels.<name>`.

    Raises:
        ConfigError: with every problem, each a sentence that names its key and says what would be right.
    """
    entry = values.Entry(f"channels.{name}", raw)
    entry.refuse_unknown_keys(_KEYS)
    entry.take("enabled", values.flag, default=True)
    entry.take("type", values.text, default=TYPE)
    token = entry.secret("token", required=True)
    key = entry.secret("encodingAESKey", required=True)
    previous_token = entry.secret("previousToken")
    previous_key = entry.secret("previousEncodingAESKey")
    decoded = [entry.take_key("encodingAESKey", key), entry.take_key("previousEncodingAESKey", previous_key)]
    proxy = entry.secret("proxy")
    if proxy and (problem := proxy_problem(proxy)):
        entry.complain("proxy", problem)
    state = entry.take("state", values.text, default=MEMORY)
    if problem := address_problem(state):
        entry.complain("state", problem)
    config = WeComConfig(
        # Token and key can be changed one at a time, so every old one goes with every new one.
        credentials=tuple(
            Credentials(one_token, one_key)
            for one_key in decoded
            if one_key
            for one_token in (token, previous_token)
            if one_token
        ),
        receive_id=entry.take("receiveId", values.text, default=""),
        host=entry.take("host", values.non_empty_text, default=EVERY_INTERFACE),
        port=entry.take("port", values.port, default=9886),
        path=entry.take("path", values.url_path, default="/wecom/bot"),
        rules=AdmissionRules(
            senders=frozenset(entry.take("allowFrom", values.names, default=_NOBODY)),
            groups=frozenset(entry.take("allowGroups", values.names, default=_NOBODY)),
            bots=frozenset(entry.take("botIds", values.names, default=_NOBODY)),
        ),
        mention_names=entry.take("mentionNames", values.names, default=_NOBODY),
        proxy=proxy or None,
        allow_private_network=entry.take("allowPrivateNetwork", values.flag, default=False),
        state=state,
        overflow=entry.take("overflow", _overflow, default="truncate"),
        max_skew_seconds=entry.take("maxSkewSeconds", values.count, default=0),
        short_path=entry.take("shortPath", values.flag, default=True),
        inbox_limit=entry.take("inboxLimit", values.positive_count, default=1_000),
        media_limit_bytes=entry.take("mediaLimitBytes", _media_limit, default=256 * 1024 * 1024),
        drain_seconds=entry.take("drainSeconds", values.seconds, default=10.0),
    )
    entry.raise_problems()
    return config


def _media_limit(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < BLOCK_BYTES:
        message = f"must be a whole number, {BLOCK_BYTES} or more: what one picture of the largest size takes"
        raise ValueError(message)
    return value


def _overflow(value: object) -> Overflow:
    if value == "truncate":
        return "truncate"
    if value == "continue":
        return "continue"
    message = 'must be "truncate" or "continue"'
    raise ValueError(message)
