"""Declares the configuration keys of the host, and reads a JSON value into frozen structs, with every problem at once.

Keys under `channels.<name>` other than `enabled` belong to the plugin that handles the entry.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from yarl import URL

from maven_channel_wecom.host.agents.agent_proxy import AgentProxy, choose_proxy, environment_problem
from maven_channel_wecom.host.agents.agent_url import path_problem, url_problem
from maven_channel_wecom.host.conversations import MemoryKind, MemoryLimits
from maven_channel_wecom.host.logs import LEVELS, LogFormat
from maven_channel_wecom.host.memory_store import IN_PROCESS, memory_address_problem
from maven_channel_wecom.host.schedules import Schedule, parse_calendar, parse_interval
from maven_channel_wecom.host.timezones import machine_timezone_problem, parse_timezone
from maven_channel_wecom.settings import ENABLED, MAX_PORT, Key, Settings
from maven_channel_wecom.transport.proxy import proxy_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUS_HOST: Final = "127.0.0.1"
"""Default of `gateway.host`. Metrics reveal when and how busy a bot is, so exposing them takes a deliberate setting."""

STATUS_PORT: Final = 18790
AGENT_TIMEOUT_SECONDS: Final = 600
"""Default timeout of an answer. Agents that use tools take minutes. Lower: they are cut off. Higher: a turn occupies
its slot long after its user has left."""

_HOUR_SECONDS = 3600

_WEEK_MINUTES = 7 * 24 * 60
_MAX_MEMORY_BYTES = 64 * 1024 * 1024


def _host_problem(host: str) -> str | None:
    if host.startswith("[") or host.endswith("]"):
        return "must be an address without brackets, such as ::1"
    if re.search(r"[\s/\[\]]", host):
        return "must be an address or a host name, such as 127.0.0.1"
    return None


def _header_problem(text: str) -> str | None:
    return None if text.isascii() else "contains characters that are not allowed in an HTTP header"


def _parse_problem(parse: Callable[[str], object]) -> Callable[[str], str | None]:
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
        pattern=r"^(?![\s\S]*[\s/\[\]])[\s\S]",
        check=_host_problem,
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
        help="Port of the status server; 0: any free port.",
        help_zh="状态服务的端口；0 表示自动选择空闲端口。",
    ),
)

_BEHIND_HTTP: Final = ("type", "responses", "chat-completions")

AGENT_KEYS: Final = (
    Key(
        name="type",
        type="string",
        default="echo",
        choices=("echo", "responses", "chat-completions"),
        title="Agent",
        title_zh="智能体类型",
        help="echo repeats each message and needs no other key; the others call a service with the API of that name.",
        help_zh="echo：原样复述消息，无需其他键；其余：调用支持该名称 API 的服务。",
    ),
    Key(
        name="url",
        # Its query may contain a key.
        type="secret",
        required=_BEHIND_HTTP,
        check=url_problem,
        title="URL",
        title_zh="接口地址",
        help="URL of the API, which usually ends with /v1/responses or /v1/chat/completions.",
        help_zh="API 的地址，通常以 /v1/responses 或 /v1/chat/completions 结尾。",
    ),
    Key(
        name="apiKey",
        type="secret",
        check=_header_problem,
        title="API key",
        title_zh="接口密钥",
        help="Key for the API, sent as a bearer token.",
        help_zh="API 的密钥，以 Bearer 令牌方式发送。",
    ),
    Key(
        name="model",
        type="string",
        required=_BEHIND_HTTP,
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
        help="Maximum time for a complete answer, in seconds.",
        help_zh="等待一次完整回答的最长时间（秒）。",
    ),
    Key(
        name="proxy",
        type="secret",
        default="",
        check=proxy_problem,
        title="Proxy",
        title_zh="代理",
        help="Proxy URL for the agent: http, https, socks5 or socks5h. Without it, HTTPS_PROXY and the like are used.",
        help_zh="访问智能体所用的代理：http、https、socks5 或 socks5h；不填则使用 HTTPS_PROXY 等环境变量。",
    ),
    Key(
        name="memory",
        type="string",
        default="messages",
        choices=("messages", "previous_response_id", "server"),
        title="Memory",
        title_zh="上下文记忆",
        help="Who remembers a chat. messages: this host, which sends the earlier turns; previous_response_id: the "
        "agent, which continues from its last response; server: the agent, by the header Maven-Session-Id alone.",
        help_zh="由谁记住对话。messages：本宿主，随请求发送之前的轮次；previous_response_id：智能体，从其上一次回答继续；"
        "server：智能体，仅凭 Maven-Session-Id 请求头。",
    ),
    Key(
        name="memoryTurns",
        type="integer",
        default=MemoryLimits().turns,
        minimum=1,
        maximum=1_000,
        title="Remembered turns",
        title_zh="记忆轮数",
        help="Maximum number of turns that are remembered of a chat.",
        help_zh="每个会话最多记住的轮数。",
    ),
    Key(
        name="memoryBytes",
        type="integer",
        default=MemoryLimits().bytes,
        minimum=1_000,
        maximum=_MAX_MEMORY_BYTES,
        title="Remembered bytes",
        title_zh="记忆字节数",
        help="Maximum bytes that are remembered of a chat, the newest: text, media in base64. Fit it to the model.",
        help_zh="每个会话最多记住的字节数：文字、base64 编码的媒体，保留最近的；请与模型的上下文长度相配。",
    ),
    Key(
        name="memoryMinutes",
        type="integer",
        default=MemoryLimits().minutes,
        minimum=1,
        maximum=_WEEK_MINUTES,
        title="Remembered minutes",
        title_zh="记忆时长",
        help="Minutes after which a turn is forgotten.",
        help_zh="一轮对话在多少分钟后被遗忘。",
    ),
    Key(
        name="memoryState",
        type="string",
        default=IN_PROCESS,
        pattern=r"^(memory:|sqlite:(?!:|//)[^\u0000]+)$",
        check=memory_address_problem,
        title="Memory state",
        title_zh="记忆存储",
        help="Where this host stores what it remembers: memory: or sqlite:PATH, a file of its own.",
        help_zh="本宿主存放记忆的位置：memory: 或 sqlite:路径（单独的文件）。",
    ),
    Key(
        name="speakerIds",
        type="boolean",
        default=False,
        title="Speaker ids",
        title_zh="发言人 ID",
        help="In a group the agent is told who speaks. false: by a lasting pseudonym; true: by the user ID.",
        help_zh="false：群聊中以固定化名告知智能体发言人；true：告知真实 ID。",
    ),
    Key(
        name="parallelTurns",
        type="boolean",
        default=False,
        title="Parallel turns",
        title_zh="并行处理",
        help="false: the messages of a chat are answered one after another; true: side by side.",
        help_zh="false：同一会话的消息逐条回答；true：同时回答。",
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
        help="Name of the job; it must be unique.",
        help_zh="任务名称，不可重复。",
    ),
    Key(
        name="every",
        type="string",
        pattern="^[1-9][0-9]{0,5}[smhd]$",
        check=_parse_problem(parse_interval),
        title="Interval",
        title_zh="间隔",
        help='Time between two runs, such as "30s", "5m", "2h" or "1d"; set either this or schedule.',
        help_zh="两次运行的间隔，例如 30s、5m、2h、1d；与 schedule 二选一。",
    ),
    Key(
        name="schedule",
        type="string",
        check=_parse_problem(parse_calendar),
        title="Schedule",
        title_zh="时间表",
        help='Cron expression of five fields, such as "0 9 * * 1-5"; set either this or every.',
        help_zh="五段 cron 表达式，例如 0 9 * * 1-5；与 every 二选一。",
    ),
    Key(
        name="timezone",
        type="string",
        check=_parse_problem(parse_timezone),
        title="Time zone",
        title_zh="时区",
        help='Time zone of schedule, such as "Asia/Shanghai"; without it, that of this machine.',
        help_zh="schedule 所用的时区，例如 Asia/Shanghai；不填则为本机时区。",
    ),
    Key(
        name="message",
        type="string",
        required=True,
        title="Message",
        title_zh="消息",
        help="Message that the agent is asked to answer.",
        help_zh="发给智能体的消息。",
    ),
    Key(
        name="deliver",
        type="boolean",
        default=False,
        title="Deliver",
        title_zh="投递",
        help="true: send the answer to a chat.",
        help_zh="true：将回答发送到会话。",
    ),
    Key(
        name="channel",
        type="string",
        required=_DELIVERED,
        title="Channel",
        title_zh="通道",
        help="Name of the entry in channels that delivers the answer.",
        help_zh="投递回答所用的 channels 条目名。",
    ),
    Key(
        name="to",
        type="string",
        required=_DELIVERED,
        title="Chat",
        title_zh="会话",
        help="ID of the chat that receives the answer.",
        help_zh="接收回答的会话 ID。",
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
        help="Lowest level to print: debug, info, warning or error.",
        help_zh="输出的最低级别：debug、info、warning 或 error。",
    ),
    Key(
        name="format",
        type="string",
        default="text",
        choices=("text", "json"),
        title="Format",
        title_zh="格式",
        help="Log format: text or json, one line per record.",
        help_zh="日志格式：text 或 json，每条记录一行。",
    ),
    Key(
        name="userIds",
        type="boolean",
        default=False,
        title="User ids",
        title_zh="用户 ID",
        help="false: users and chats are logged under pseudonyms that change at every start; true: under their IDs.",
        help_zh="false：日志以化名记录用户与会话，化名每次启动都会变化；true：记录真实 ID。",
    ),
)

SECTIONS: Final = (
    Key(
        name="gateway",
        type="object",
        default={},
        title="Gateway",
        title_zh="网关",
        help="Address and port for metrics and health checks.",
        help_zh="提供指标与健康检查的地址和端口。",
    ),
    Key(
        name="agent",
        type="object",
        default={},
        title="Agent",
        title_zh="智能体",
        help="The agent that answers messages.",
        help_zh="回答消息的智能体。",
    ),
    Key(
        name="cron",
        type="list",
        default=(),
        title="Cron jobs",
        title_zh="定时任务",
        help="Jobs that ask the agent on a schedule.",
        help_zh="按计划向智能体提问的任务。",
    ),
    Key(
        name="logging",
        type="object",
        default={},
        title="Logging",
        title_zh="日志",
        help="Level and format of the log, and whether it shows user IDs.",
        help_zh="日志的级别与格式，以及是否显示用户 ID。",
    ),
    Key(
        name="channels",
        type="object",
        default={},
        title="Channels",
        title_zh="通道",
        help="One entry for each bot, under a name of your choice.",
        help_zh="每个机器人一个条目，名称自定。",
    ),
)
"""The sections of the file. The keys of each section are declared above; those of a channel belong to its plugin."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """Address and port of the status server. Port 0 means any free port."""

    host: str = STATUS_HOST
    port: int = STATUS_PORT


class Echo(msgspec.Struct, frozen=True, kw_only=True):
    """Selects the echo agent, which has no settings."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of an agent behind HTTP at `url`. `timeout_seconds` limits a complete answer."""

    type: ClassVar[str]
    url: str
    model: str
    api_key: str | None = None
    timeout_seconds: int = AGENT_TIMEOUT_SECONDS
    proxy: AgentProxy | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model}>"


class Responses(AgentSettings, frozen=True, kw_only=True):
    """Settings of an agent with the Responses API."""

    type: ClassVar[str] = "responses"


class ChatCompletions(AgentSettings, frozen=True, kw_only=True):
    """Settings of an agent with the Chat Completions API."""

    type: ClassVar[str] = "chat-completions"


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """How messages of one chat belong together: who remembers, how much, where, and in which order turns run."""

    memory: MemoryKind = "server"
    limits: MemoryLimits = MemoryLimits()
    memory_state: str = IN_PROCESS
    speaker_ids: bool = False
    parallel_turns: bool = False


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One cron job. With `deliver`, its answer is sent to the chat `to` of `channel`."""

    name: str
    schedule: Schedule
    message: str
    deliver: bool = False
    channel: str = ""
    to: str = ""

    def __repr__(self) -> str:
        return f"<Job {self.name}>"


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """Level and format of the log, and whether it shows the ids of users and chats."""

    level: str = "info"
    format: LogFormat = "text"
    user_ids: bool = False


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. `channels` holds the raw mapping of each enabled entry."""

    gateway: Gateway = Gateway()
    agent: Echo | AgentSettings = Echo()
    sessions: Sessions = Sessions()
    cron: tuple[Job, ...] = ()
    logging: Logging = Logging()
    channels: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Configuration of {', '.join(self.channels) or 'no channels'}>"


def interpret(document: object, environment: Mapping[str, str] | None = None) -> tuple[Configuration, list[str]]:
    """Return the configuration in a JSON value, and every problem in the parts that the host owns.

    If there are problems, the configuration holds only what was readable: use it to check its channels, not to run it.
    """
    problems: list[str] = []
    if isinstance(document, dict):
        # Editors find the schema of the file by this key.
        document = {key: value for key, value in document.items() if key != "$schema"}
    sections = Settings(document, "", SECTIONS, problems=problems)
    variables = os.environ if environment is None else environment
    channels = _channels(sections["channels"], problems)
    gateway = _gateway(sections["gateway"], problems)
    agent, agent_sessions = _agent(sections["agent"], variables, problems)
    configuration = Configuration(
        gateway=gateway,
        agent=agent,
        sessions=agent_sessions,
        logging=_logging(sections["logging"], problems),
        cron=_cron(sections["cron"], channels, variables, problems),
        channels=channels,
    )
    return configuration, problems


def _gateway(value: object, problems: list[str]) -> Gateway:
    settings = Settings(value, "gateway", GATEWAY_KEYS, problems=problems)
    return Gateway(host=settings["host"], port=settings["port"])


def _logging(value: object, problems: list[str]) -> Logging:
    settings = Settings(value, "logging", LOGGING_KEYS, problems=problems)
    return Logging(level=settings["level"], format=settings["format"], user_ids=settings["userIds"])


def _agent(value: object, environment: Mapping[str, str], problems: list[str]) -> tuple[Echo | AgentSettings, Sessions]:
    settings = Settings(value, "agent", AGENT_KEYS, problems=problems, environment=environment)
    if "type" not in settings and any(key.name in settings for key in AGENT_KEYS):
        settings.problem("type", 'is required if agent has other keys; set it to "responses" or "chat-completions"')
    # The keys of other agents may stay in the file while echo is tried: they are not read.
    kind = settings["type"]
    if kind == "echo":
        return Echo(), Sessions()
    url = settings["url"] or ""
    if kind == "chat-completions" and settings["memory"] == "previous_response_id":
        settings.problem("memory", 'must be "messages" or "server" when agent.type is chat-completions')
    proxy = choose_proxy(settings["proxy"], URL(url), environment) if url else None
    for problem in filter(None, (url and path_problem(url, kind), proxy and environment_problem(proxy))):
        settings.problem("url", problem)
    agent = (Responses if kind == "responses" else ChatCompletions)(
        url=url,
        model=settings["model"] or "",
        api_key=settings["apiKey"],
        timeout_seconds=settings["timeoutSeconds"],
        proxy=proxy,
    )
    return agent, _sessions(settings)


def _sessions(settings: Settings) -> Sessions:
    return Sessions(
        memory=settings["memory"],
        limits=MemoryLimits(
            turns=settings["memoryTurns"], bytes=settings["memoryBytes"], minutes=settings["memoryMinutes"]
        ),
        memory_state=settings["memoryState"],
        speaker_ids=settings["speakerIds"],
        parallel_turns=settings["parallelTurns"],
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


def _cron(
    entries: list[object], channels: Mapping[str, object], environment: Mapping[str, str], problems: list[str]
) -> tuple[Job, ...]:
    jobs: list[Job] = []
    for index, entry in enumerate(entries):
        settings = Settings(entry, f"cron[{index}]", CRON_KEYS, problems=problems)
        job = _job(settings, channels, environment)
        if job.name and job.name in {other.name for other in jobs}:
            settings.problem("name", "is also the name of another job")
        jobs.append(job)
    return tuple(jobs)


def _job(settings: Settings, channels: Mapping[str, object], environment: Mapping[str, str]) -> Job:
    channel = settings["channel"] or ""
    if channel and channel not in channels:
        settings.problem("channel", "names no enabled entry of channels")
    return Job(
        name=settings["name"] or "",
        schedule=_schedule(settings, environment),
        message=settings["message"] or "",
        deliver=settings["deliver"],
        channel=channel,
        to=settings["to"] or "",
    )


def _schedule(settings: Settings, environment: Mapping[str, str]) -> Schedule:
    timezone = settings["timezone"]
    if timezone and "schedule" not in settings:
        settings.problem("timezone", "has an effect only with schedule")
    elif "schedule" in settings and not timezone and (problem := machine_timezone_problem(environment.get("TZ", ""))):
        settings.problem("timezone", problem)
    if ("every" in settings) == ("schedule" in settings):
        settings.problem("every", "or schedule is required, but not both")
    elif every := settings["every"]:
        return parse_interval(every)
    elif schedule := settings["schedule"]:
        return parse_calendar(schedule, parse_timezone(timezone) if timezone else None)
    # A problem has been reported, so any schedule will do.
    return parse_interval("1d")
