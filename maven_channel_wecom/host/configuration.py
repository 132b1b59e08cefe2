"""The host's configuration: its keys, and the JSON value read into frozen structs, every problem at once.

What stands under `channels.<name>` beside `enabled` belongs to the plugin that answers for the entry.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec
from yarl import URL

from maven_channel_wecom.host.logs import LEVELS, LogFormat
from maven_channel_wecom.host.schedules import Schedule, parse_calendar, parse_interval
from maven_channel_wecom.settings import ENABLED, MAX_PORT, Key, Settings, key_schema, object_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUS_HOST: Final = "127.0.0.1"
"""Metrics tell a stranger how busy a bot is and when: showing them to other machines is a decision to write down."""

STATUS_PORT: Final = 18790
AGENT_TIMEOUT_SECONDS: Final = 600
"""Agents that use tools think for minutes. Lower cuts them off; higher keeps a turn busy long after its user left."""

_HOUR_SECONDS = 3600


def _url_problem(url: str) -> str | None:
    wrong = "must be a URL that starts with http:// or https://"
    try:
        parsed = URL(url)
        # yarl reads the host only when it is asked for.
        host = parsed.host
    except (ValueError, IndexError):  # yarl trips over `[::1]@`
        return wrong
    if parsed.scheme not in {"http", "https"} or not host:
        return wrong
    if parsed.user is not None or parsed.password is not None:
        return "must not hold a user name or password; put the key into agent.apiKey"
    return None


def _header_problem(text: str) -> str | None:
    return None if text.isascii() else "holds characters that cannot stand in an HTTP header"


def _schedule_problem(parse: Callable[[str], Schedule]) -> Callable[[str], str | None]:
    def problem(text: str) -> str | None:
        try:
            parse(text)
        except ValueError as error:
            return str(error)
        return None

    return problem


GATEWAY_KEYS: Final = (
    Key(
        name="host",
        type="string",
        default=STATUS_HOST,
        title="Status address",
        title_zh="状态服务地址",
        help="Address where /metrics, /healthz and /readyz are served.",
        help_zh="提供 /metrics、/healthz 与 /readyz 的地址。",
    ),
    Key(
        name="port",
        type="integer",
        default=STATUS_PORT,
        minimum=0,
        maximum=MAX_PORT,
        title="Status port",
        title_zh="状态服务端口",
        help="Port of that address; 0: any free one.",
        help_zh="状态服务的端口；0 表示任一空闲端口。",
    ),
)

_RESPONSES: Final = ("type", "responses")

AGENT_KEYS: Final = (
    Key(
        name="type",
        type="string",
        default="echo",
        choices=("echo", "responses"),
        title="Agent",
        title_zh="智能体类型",
        help="echo repeats what it hears and needs no other key; responses is anything that speaks the Responses API.",
        help_zh="echo：原样复述，无需其他键；responses：任何支持 Responses API 的服务。",
    ),
    Key(
        name="url",
        type="string",
        required=_RESPONSES,
        check=_url_problem,
        title="URL",
        title_zh="接口地址",
        help="URL of the Responses API.",
        help_zh="Responses API 的地址。",
    ),
    Key(
        name="apiKey",
        type="secret",
        check=_header_problem,
        title="API key",
        title_zh="接口密钥",
        help="Key of the Responses API, sent as a bearer token.",
        help_zh="Responses API 的密钥，以 Bearer 方式发送。",
    ),
    Key(
        name="model",
        type="string",
        required=_RESPONSES,
        title="Model",
        title_zh="模型",
        help="Name of the model.",
        help_zh="模型名称。",
    ),
    Key(
        name="timeoutSeconds",
        type="integer",
        default=AGENT_TIMEOUT_SECONDS,
        minimum=1,
        maximum=_HOUR_SECONDS,
        title="Timeout",
        title_zh="超时",
        help="Seconds a whole answer may take.",
        help_zh="一次完整回答最多可用的秒数。",
    ),
)

_DELIVERED: Final = ("deliver", True)

CRON_KEYS: Final = (
    Key(
        name="name",
        type="string",
        required=True,
        title="Name",
        title_zh="名称",
        help="Name of the job; no two have the same.",
        help_zh="任务名称，不可重复。",
    ),
    Key(
        name="every",
        type="string",
        pattern="^[1-9][0-9]{0,5}[smhd]$",
        check=_schedule_problem(parse_interval),
        title="Interval",
        title_zh="间隔",
        help='Time between two runs, such as "30s", "5m", "2h" or "1d"; either this or schedule.',
        help_zh="两次运行的间隔，例如 30s、5m、2h、1d；与 schedule 二选一。",
    ),
    Key(
        name="schedule",
        type="string",
        check=_schedule_problem(parse_calendar),
        title="Schedule",
        title_zh="时间表",
        help='Cron expression of five fields in local time, such as "0 9 * * 1-5"; either this or every.',
        help_zh="五段 cron 表达式（本地时间），例如 0 9 * * 1-5；与 every 二选一。",
    ),
    Key(
        name="message",
        type="string",
        required=True,
        title="Message",
        title_zh="消息",
        help="The question to the agent.",
        help_zh="发给智能体的内容。",
    ),
    Key(
        name="deliver",
        type="boolean",
        default=False,
        title="Deliver",
        title_zh="投递",
        help="true: the answer goes to a chat.",
        help_zh="true：把回答发到会话。",
    ),
    Key(
        name="channel",
        type="string",
        required=_DELIVERED,
        title="Channel",
        title_zh="通道",
        help="The entry of channels that delivers the answer.",
        help_zh="投递回答所用的 channels 条目名。",
    ),
    Key(
        name="to",
        type="string",
        required=_DELIVERED,
        title="Chat",
        title_zh="会话",
        help="The chat that gets the answer.",
        help_zh="接收回答的会话。",
    ),
)

LOGGING_KEYS: Final = (
    Key(
        name="level",
        type="string",
        default="info",
        choices=tuple(LEVELS),
        title="Level",
        title_zh="级别",
        help="The lowest level that is printed: debug, info, warning or error.",
        help_zh="输出的最低级别：debug、info、warning 或 error。",
    ),
    Key(
        name="format",
        type="string",
        default="text",
        choices=("text", "json"),
        title="Format",
        title_zh="格式",
        help="text or json, one line each.",
        help_zh="text 或 json，每条一行。",
    ),
    Key(
        name="userIds",
        type="boolean",
        default=False,
        title="User ids",
        title_zh="用户 ID",
        help="false: people and chats go by pseudonyms that change with every start; true: by their ids.",
        help_zh="false：用户与会话以每次启动都会变化的化名出现；true：以真实 ID 出现。",
    ),
)

SECTIONS: Final = (
    Key(
        name="gateway",
        type="object",
        default={},
        title="Gateway",
        title_zh="网关",
        help="Where the host serves its metrics and health.",
        help_zh="主机提供指标与健康状态的位置。",
    ),
    Key(
        name="agent",
        type="object",
        default={},
        title="Agent",
        title_zh="智能体",
        help="The agent that answers messages.",
        help_zh="由谁来回答。",
    ),
    Key(
        name="cron",
        type="list",
        default=(),
        title="Cron jobs",
        title_zh="定时任务",
        help="Jobs that ask the agent at set times.",
        help_zh="按时向智能体提问的任务。",
    ),
    Key(
        name="logging",
        type="object",
        default={},
        title="Logging",
        title_zh="日志",
        help="Level and format of the log.",
        help_zh="日志的内容与形式。",
    ),
    Key(
        name="channels",
        type="object",
        default={},
        title="Channels",
        title_zh="通道",
        help="One entry for each bot, by a name of your choice.",
        help_zh="每个机器人一个条目，名称自定。",
    ),
)
"""The parts of the file. The keys of each have a tuple of their own; those of a channel belong to its plugin."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """Where the status server listens; port 0 takes any free one."""

    host: str = STATUS_HOST
    port: int = STATUS_PORT


class Echo(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that says what it heard."""


class Responses(msgspec.Struct, frozen=True, kw_only=True):
    """An agent behind the Responses API at `url`; `timeout_seconds` bounds a whole answer."""

    url: str
    model: str
    api_key: str | None = None
    timeout_seconds: int = AGENT_TIMEOUT_SECONDS

    def __repr__(self) -> str:
        return f"<Responses of {self.model}>"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One cron entry. With `deliver`, the answer goes to the chat `to` of `channel`."""

    name: str
    schedule: Schedule
    message: str
    deliver: bool = False
    channel: str = ""
    to: str = ""

    def __repr__(self) -> str:
        return f"<Job {self.name}>"


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """How much is logged, in which form, and whether people go by their ids."""

    level: str = "info"
    format: LogFormat = "text"
    user_ids: bool = False


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. `channels` holds the raw mapping of each enabled entry."""

    gateway: Gateway = Gateway()
    agent: Echo | Responses = Echo()
    cron: tuple[Job, ...] = ()
    logging: Logging = Logging()
    channels: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Configuration of {', '.join(self.channels) or 'no channels'}>"


def interpret(document: object, environment: Mapping[str, str] | None = None) -> tuple[Configuration, list[str]]:
    """Return the configuration in a JSON value, and every problem of the parts the host owns.

    Only without problems is the configuration what the operator meant; with them it still holds what was readable,
    so that its channels can be checked too.
    """
    problems: list[str] = []
    if isinstance(document, dict):
        # By this key an editor finds the schema of the file.
        document = {key: value for key, value in document.items() if key != "$schema"}
    sections = Settings(document, "", SECTIONS, problems=problems)
    channels = _channels(sections["channels"], problems)
    configuration = Configuration(
        gateway=_gateway(sections["gateway"], problems),
        agent=_agent(sections["agent"], os.environ if environment is None else environment, problems),
        logging=_logging(sections["logging"], problems),
        cron=_cron(sections["cron"], channels, problems),
        channels=channels,
    )
    return configuration, problems


def document_schema(channels: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the whole file. `channels` maps a type of channel to the schema of an entry.

    An entry is of a type when it says so, or has its name and says nothing. A disabled one may be unfinished.
    """
    schema = object_schema(SECTIONS)
    parts = schema["properties"]
    parts["$schema"] = {"type": "string"}
    for name, keys in (("gateway", GATEWAY_KEYS), ("agent", AGENT_KEYS), ("logging", LOGGING_KEYS)):
        parts[name] |= object_schema(keys)
    parts["cron"]["items"] = object_schema(CRON_KEYS) | {"oneOf": [{"required": ["every"]}, {"required": ["schedule"]}]}
    entry: dict[str, Any] = {"type": "object", "properties": {ENABLED.name: key_schema(ENABLED)}}
    named = {}
    conditions = []
    for type_ in channels:
        is_meant = {"properties": {"type": {"const": type_}, ENABLED.name: {"const": True}}}
        then = {"$ref": f"#/$defs/{type_}"}
        named[type_] = entry | {"if": is_meant, "then": then}
        conditions.append({"if": is_meant | {"required": ["type"]}, "then": then})
    parts["channels"] |= {
        "propertyNames": {"pattern": r"\S"},
        "properties": named,
        "additionalProperties": entry | ({"allOf": conditions} if conditions else {}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Maven gateway 网关配置",
        **schema,
        "$defs": dict(channels),
    }


def _gateway(value: object, problems: list[str]) -> Gateway:
    settings = Settings(value, "gateway", GATEWAY_KEYS, problems=problems)
    return Gateway(host=settings["host"], port=settings["port"])


def _logging(value: object, problems: list[str]) -> Logging:
    settings = Settings(value, "logging", LOGGING_KEYS, problems=problems)
    return Logging(level=settings["level"], format=settings["format"], user_ids=settings["userIds"])


def _agent(value: object, environment: Mapping[str, str], problems: list[str]) -> Echo | Responses:
    settings = Settings(value, "agent", AGENT_KEYS, problems=problems, environment=environment)
    # The other keys may stay while the echo is tried: they are not read.
    if settings["type"] == "echo":
        return Echo()
    return Responses(
        url=settings["url"] or "",
        model=settings["model"] or "",
        api_key=settings["apiKey"],
        timeout_seconds=settings["timeoutSeconds"],
    )


def _channels(entries: Mapping[str, Any], problems: list[str]) -> dict[str, dict[str, Any]]:
    enabled = {}
    for name, entry in entries.items():
        if not name.strip():
            problems.append(f"channels.{name} needs a name")
            continue
        settings = Settings(entry, f"channels.{name}", (ENABLED,), problems=problems, open_ended=True)
        if settings[ENABLED.name] and isinstance(entry, dict):
            enabled[name] = entry
    return enabled


def _cron(entries: list[object], channels: Mapping[str, object], problems: list[str]) -> tuple[Job, ...]:
    jobs: list[Job] = []
    for index, entry in enumerate(entries):
        settings = Settings(entry, f"cron[{index}]", CRON_KEYS, problems=problems)
        job = _job(settings, channels)
        if job.name and job.name in {other.name for other in jobs}:
            settings.problem("name", "is the name of another job too")
        jobs.append(job)
    return tuple(jobs)


def _job(settings: Settings, channels: Mapping[str, object]) -> Job:
    channel = settings["channel"] or ""
    if channel and channel not in channels:
        settings.problem("channel", "names no enabled entry of channels")
    return Job(
        name=settings["name"] or "",
        schedule=_schedule(settings),
        message=settings["message"] or "",
        deliver=settings["deliver"],
        channel=channel,
        to=settings["to"] or "",
    )


def _schedule(settings: Settings) -> Schedule:
    if ("every" in settings) == ("schedule" in settings):
        settings.problem("every", "or schedule is required, and not both")
    elif every := settings["every"]:
        return parse_interval(every)
    elif schedule := settings["schedule"]:
        return parse_calendar(schedule)
    # A problem was noted: any schedule will do.
    return parse_interval("1d")
