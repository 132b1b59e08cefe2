"""The host's configuration: a JSON value, read into frozen structs, every problem at once.

What stands under `channels.<name>` beside `enabled` belongs to the plugin that answers for the entry.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from yarl import URL

from maven_channel_wecom.host.keys import Keys
from maven_channel_wecom.host.logs import LEVELS, LogFormat
from maven_channel_wecom.host.schedules import Schedule, parse_calendar, parse_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_HOST: Final = "127.0.0.1"
"""Metrics tell a stranger how busy a bot is and when: showing them to other machines is a decision to write down."""

STATUS_PORT: Final = 18790
MAX_PORT: Final = 65535
ANSWER_SECONDS: Final = 600
"""Agents that use tools think for minutes. Lower cuts them off; higher keeps a turn busy long after its user left."""

_HOUR_SECONDS = 3600


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
    timeout_seconds: int = ANSWER_SECONDS

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
    keys = Keys(document, "", ("gateway", "agent", "cron", "logging", "channels"), problems)
    channels = _channels(keys, problems)
    configuration = Configuration(
        gateway=_gateway(keys.raw("gateway", {}), problems),
        agent=_agent(keys.raw("agent", {}), os.environ if environment is None else environment, problems),
        logging=_logging(keys.raw("logging", {}), problems),
        cron=_cron(keys, channels, problems),
        channels=channels,
    )
    return configuration, problems


def _gateway(value: object, problems: list[str]) -> Gateway:
    keys = Keys(value, "gateway", ("host", "port"), problems)
    return Gateway(host=keys.text("host", STATUS_HOST), port=keys.number("port", STATUS_PORT, low=0, high=MAX_PORT))


def _logging(value: object, problems: list[str]) -> Logging:
    keys = Keys(value, "logging", ("level", "format", "userIds"), problems)
    style = keys.choice("format", ("text", "json"), "text")
    return Logging(
        level=keys.choice("level", LEVELS, "info"),
        format=cast("LogFormat", style),
        user_ids=keys.flag("userIds", default=False),
    )


def _agent(value: object, environment: Mapping[str, str], problems: list[str]) -> Echo | Responses:
    keys = Keys(value, "agent", ("type", "url", "apiKey", "model", "timeoutSeconds"), problems)
    if keys.choice("type", ("echo", "responses"), "echo") == "echo":
        return Echo()
    for key in ("url", "model"):
        if key not in keys:
            keys.problem(key, "is required when agent.type is responses")
    url = keys.text("url", "")
    if url and (wrong := _url_problem(url)):
        keys.problem("url", wrong)
    api_key = keys.secret("apiKey", environment)
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        keys.problem("apiKey", "holds characters that cannot stand in an HTTP header")
    return Responses(
        url=url,
        model=keys.text("model", ""),
        api_key=api_key,
        timeout_seconds=keys.number("timeoutSeconds", ANSWER_SECONDS, low=1, high=_HOUR_SECONDS),
    )


def _url_problem(url: str) -> str | None:
    wrong = "must be a URL that starts with http:// or https://"
    try:
        parsed = URL(url)
        # yarl reads the host only when it is asked for.
        host = parsed.host
    except ValueError:
        return wrong
    if parsed.scheme not in {"http", "https"} or not host:
        return wrong
    if parsed.user is not None or parsed.password is not None:
        return "must not hold a user name or password; put the key into agent.apiKey"
    return None


def _channels(parent: Keys, problems: list[str]) -> dict[str, dict[str, Any]]:
    entries = parent.raw("channels", {})
    names = Keys(entries, "channels", None, problems)
    enabled = {}
    for name in entries if isinstance(entries, dict) else ():
        if not name.strip():
            names.problem(name, "needs a name")
            continue
        if Keys(names.raw(name, {}), f"channels.{name}", None, problems).flag("enabled", default=True):
            entry = names.raw(name, {})
            if isinstance(entry, dict):
                enabled[name] = entry
    return enabled


def _cron(parent: Keys, channels: Mapping[str, object], problems: list[str]) -> tuple[Job, ...]:
    entries = parent.raw("cron", [])
    if not isinstance(entries, list):
        parent.problem("cron", "must be a list")
        return ()
    jobs: list[Job] = []
    for index, entry in enumerate(entries):
        keys = Keys(
            entry,
            f"cron[{index}]",
            ("name", "every", "schedule", "message", "deliver", "channel", "to"),
            problems,
        )
        job = _job(keys, channels)
        if job.name and job.name in {other.name for other in jobs}:
            keys.problem("name", "is the name of another job too")
        jobs.append(job)
    return tuple(jobs)


def _job(keys: Keys, channels: Mapping[str, object]) -> Job:
    deliver = keys.flag("deliver", default=False)
    channel, to = keys.text("channel", ""), keys.text("to", "")
    for key in ("channel", "to"):
        if deliver and key not in keys:
            keys.problem(key, "is required when deliver is true")
    if channel and channel not in channels:
        keys.problem("channel", "names no enabled entry of channels")
    return Job(
        name=keys.text("name"),
        schedule=_schedule(keys),
        message=keys.text("message"),
        deliver=deliver,
        channel=channel,
        to=to,
    )


def _schedule(keys: Keys) -> Schedule:
    unusable = parse_interval("1d")
    if ("every" in keys) == ("schedule" in keys):
        keys.problem("every", "or schedule is required, and not both")
        return unusable
    key, parse = ("every", parse_interval) if "every" in keys else ("schedule", parse_calendar)
    text = keys.text(key)
    if not text:
        return unusable
    try:
        return parse(text)
    except ValueError as error:
        keys.problem(key, str(error))
        return unusable
