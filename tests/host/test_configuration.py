"""The host's configuration: what it may contain, and the sentences about what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from maven_channel_wecom.host.agents.agent_proxy import AgentProxy
from maven_channel_wecom.host.configuration import (
    SECTIONS,
    ChatCompletions,
    Echo,
    Gateway,
    Logging,
    Responses,
    Sessions,
    interpret,
)
from maven_channel_wecom.host.conversations import MemoryLimits
from maven_channel_wecom.host.schedules import Calendar, Interval
from maven_channel_wecom.settings import SECTION_NAMES

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-4711"
RESPONSES = {"type": "responses", "url": "http://127.0.0.1:1/v1/responses", "model": "maven"}
CHAT = {"type": "chat-completions", "url": "https://api.example/v1/chat/completions", "model": "maven"}
JOB = {"name": "report", "every": "5m", "message": "report"}


def problems_of(document: object, **environment: str) -> list[str]:
    return interpret(document, environment)[1]


def test_an_empty_object_is_a_valid_configuration() -> None:
    configuration, problems = interpret({}, {})
    assert problems == []
    assert configuration.gateway == Gateway(host="127.0.0.1", port=18790)
    assert configuration.agent == Echo()
    assert configuration.logging == Logging(level="info", format="text", user_ids=False)
    assert (configuration.cron, configuration.channels) == ((), {})


def test_an_agent_remembers_messages_within_limits_unless_the_file_says_otherwise() -> None:
    limits = MemoryLimits(turns=20, bytes=200_000, minutes=60)
    assert interpret({"agent": RESPONSES}, {})[0].sessions == Sessions(memory="messages", limits=limits)
    keys = {"memory": "server", "memoryTurns": 1, "memoryBytes": 1_000, "memoryMinutes": 5} | {
        "memoryState": "sqlite:memory.db",
        "speakerIds": True,
        "parallelTurns": True,
    }
    configuration, problems = interpret({"agent": RESPONSES | keys}, {})
    assert problems == []
    assert configuration.sessions == Sessions(
        memory="server",
        limits=MemoryLimits(turns=1, bytes=1_000, minutes=5),
        memory_state="sqlite:memory.db",
        speaker_ids=True,
        parallel_turns=True,
    )


def test_an_agent_that_echoes_has_no_memory() -> None:
    assert interpret({}, {})[0].sessions == Sessions(memory="server")
    assert interpret({"agent": RESPONSES | {"type": "echo"}}, {})[0].sessions == Sessions(memory="server")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("memory", "none", "must be one of messages, previous_response_id, server"),
        ("memoryTurns", 0, "must be a whole number from 1 to 1000"),
        ("memoryState", "redis://host", 'must be "memory:" or "sqlite:PATH"'),
    ],
)
def test_a_wrong_key_of_the_memory_is_a_problem(key: str, value: object, problem: str) -> None:
    (found,) = problems_of({"agent": RESPONSES | {key: value}})
    assert found.startswith(f"agent.{key} {problem}")


def test_schema_is_a_key_of_the_file_but_not_of_a_section() -> None:
    """Editors find the schema of a file by its key `$schema`."""
    assert problems_of({"$schema": "./wecom.schema.json"}) == []
    assert len(problems_of({"gateway": {"$schema": "./wecom.schema.json"}})) == 1


def test_a_full_configuration_is_read() -> None:
    configuration, problems = interpret(
        {
            "gateway": {"host": "0.0.0.0", "port": 1},
            "agent": RESPONSES | {"apiKey": "k", "timeoutSeconds": 5},
            "logging": {"level": "DEBUG", "format": "json", "userIds": True},
            "cron": [
                JOB,
                {"name": "b", "schedule": "0 9 * * 1-5", "message": "m", "deliver": True, "channel": "w", "to": "c"},
            ],
            "channels": {"w": {"type": "wecom", "token": "t"}, "off": {"enabled": False}},
        },
        {},
    )
    assert problems == []
    assert configuration.gateway.port == 1
    assert configuration.agent == Responses(url=RESPONSES["url"], model="maven", api_key="k", timeout_seconds=5)
    assert configuration.logging == Logging(level="debug", format="json", user_ids=True)
    assert [job.schedule for job in configuration.cron] == [Interval(300), Calendar("0 9 * * 1-5")]
    assert (configuration.cron[1].deliver, configuration.cron[1].channel, configuration.cron[1].to) == (True, "w", "c")
    assert configuration.channels == {"w": {"type": "wecom", "token": "t"}}


def test_a_job_may_have_a_time_zone() -> None:
    job = {"name": "a", "schedule": "0 9 * * *", "message": "m", "timezone": "Asia/Shanghai"}
    configuration, problems = interpret({"cron": [job]}, {"TZ": "Nowhere"})
    assert problems == []
    assert configuration.cron[0].schedule == Calendar("0 9 * * *", ZoneInfo("Asia/Shanghai"))


def test_a_job_needs_a_time_zone_if_that_of_the_machine_is_unknown() -> None:
    job = {"name": "a", "schedule": "0 9 * * *", "message": "m"}
    assert problems_of({"cron": [job]}, TZ="Asia/Shangai") == [
        "cron[0].timezone is required, because the environment variable TZ names an unknown time zone"
    ]
    assert problems_of({"cron": [job]}, TZ="Asia/Shanghai") == []
    assert problems_of({"cron": [JOB]}, TZ="Asia/Shangai") == []


def test_the_sections_are_those_that_an_error_inside_a_channel_knows() -> None:
    assert sorted(section.name for section in SECTIONS) == list(SECTION_NAMES)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "the configuration must be an object"),
        ({"gatway": {}}, "gatway is not a known key; did you mean gateway?"),
        ({"x": 1}, "x is not a known key; known keys: agent, channels, cron, gateway, logging"),
        ({"gateway": 1}, "gateway must be an object"),
        ({"gateway": {"Port": 1}}, "gateway.Port is not a known key; did you mean gateway.port?"),
        ({"gateway": {"port": "1"}}, "gateway.port must be a whole number from 0 to 65535"),
        ({"gateway": {"port": True}}, "gateway.port must be a whole number from 0 to 65535"),
        ({"gateway": {"port": 65536}}, "gateway.port must be a whole number from 0 to 65535"),
        ({"gateway": {"host": ""}}, "gateway.host must be a string that is not empty"),
        ({"gateway": {"host": "[::]"}}, "gateway.host must be an address without brackets, such as ::1"),
        (
            {"gateway": {"host": "http://127.0.0.1"}},
            "gateway.host must be an address or a host name, such as 127.0.0.1",
        ),
        (
            {"gateway": {"host": " 127.0.0.1"}},
            "gateway.host must be an address or a host name, such as 127.0.0.1",
        ),
        (
            {"agent": {"url": RESPONSES["url"], "model": "maven"}},
            'agent.type is required if agent has other keys; set it to "responses" or "chat-completions"',
        ),
        (
            {"agent": RESPONSES | {"url": "https://api.example/v1/chat/completions"}},
            'agent.url is the URL of another API: set agent.type to "chat-completions", or use that of /responses',
        ),
        (
            {"agent": CHAT | {"url": "https://api.example/v1/responses/"}},
            'agent.url is the URL of another API: set agent.type to "responses", or use that of /chat/completions',
        ),
        (
            {"agent": CHAT | {"url": "https://api.example/v1/completions"}},
            "agent.url is the URL of an older API without chats; enter the one that ends with /chat/completions",
        ),
        (
            {"agent": CHAT | {"memory": "previous_response_id"}},
            'agent.memory must be "messages" or "server" when agent.type is chat-completions',
        ),
        ({"agent": CHAT | {"url": "https://api.example/v1"}}, "agent.url is a base URL; append /chat/completions"),
        (
            {"agent": RESPONSES | {"proxy": f"ftp://{CANARY}"}},
            "agent.proxy must start with http://, https://, socks5:// or socks5h://",
        ),
        ({"agent": RESPONSES | {"url": "https://api.example/v1/"}}, "agent.url is a base URL; append /responses"),
        (
            {"agent": RESPONSES | {"url": f"{RESPONSES['url']} {CANARY}"}},
            "agent.url must be printable characters without spaces, and holds a space (U+0020)",
        ),
        (
            {"cron": [JOB | {"timezone": "Asia/Shanghai"}]},
            "cron[0].timezone has an effect only with schedule",
        ),
        (
            {"cron": [{"name": "a", "schedule": "0 9 * * *", "message": "m", "timezone": "Asia/Shangai"}]},
            "cron[0].timezone is not a known time zone; did you mean Asia/Shanghai?",
        ),
        ({"logging": {"level": "loud"}}, "logging.level must be one of debug, info, warning, error"),
        ({"logging": {"format": 3}}, "logging.format must be one of text, json"),
        ({"logging": {"userIds": "yes"}}, "logging.userIds must be true or false"),
        ({"agent": {"type": "gpt"}}, "agent.type must be one of echo, responses, chat-completions"),
        ({"agent": {"apikey": CANARY}}, "agent.apikey is not a known key; did you mean agent.apiKey?"),
        (
            {"agent": {"type": "responses", "model": "m"}},
            "agent.url is required when agent.type is responses",
        ),
        (
            {"agent": {"type": "chat-completions", "url": CHAT["url"]}},
            "agent.model is required when agent.type is chat-completions",
        ),
        (
            {"agent": {"type": "responses", "url": RESPONSES["url"]}},
            "agent.model is required when agent.type is responses",
        ),
        ({"agent": RESPONSES | {"url": "ftp://x"}}, "agent.url must be a URL that starts with http:// or https://"),
        ({"agent": RESPONSES | {"url": "http://["}}, "agent.url must be a URL that starts with http:// or https://"),
        ({"agent": RESPONSES | {"url": 5}}, 'agent.url must be a string, {"env": "NAME"} or {"file": "PATH"}'),
        (
            {"agent": RESPONSES | {"url": {"env": "BLANK"}}},
            "agent.url takes its value from the environment variable BLANK, which is empty",
        ),
        (
            {"agent": RESPONSES | {"url": f"http://u:{CANARY}@127.0.0.1/"}},
            "agent.url must not hold a user name or password; put the key into agent.apiKey",
        ),
        (
            {"agent": RESPONSES | {"timeoutSeconds": 0}},
            "agent.timeoutSeconds must be a whole number from 1 to 3600",
        ),
        (
            {"agent": RESPONSES | {"apiKey": f"{CANARY}\nx"}},
            "agent.apiKey must be printable characters without spaces, and holds a line end (U+000A)",
        ),
        (
            {"agent": RESPONSES | {"apiKey": f"{CANARY}ü"}},
            "agent.apiKey contains characters that are not allowed in an HTTP header",
        ),
        ({"agent": RESPONSES | {"apiKey": ""}}, "agent.apiKey is empty"),
        (
            {"agent": RESPONSES | {"apiKey": None}},
            'agent.apiKey must be a string, {"env": "NAME"} or {"file": "PATH"}',
        ),
        (
            {"agent": RESPONSES | {"apiKey": [CANARY]}},
            'agent.apiKey must be a string, {"env": "NAME"} or {"file": "PATH"}',
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"env": "A", "file": "B"}}},
            'agent.apiKey must be a string, {"env": "NAME"} or {"file": "PATH"}',
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"env": "NOT_SET"}}},
            "agent.apiKey takes its value from the environment variable NOT_SET, which is not set: set it",
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"env": "BLANK"}}},
            "agent.apiKey takes its value from the environment variable BLANK, which is empty",
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"file": "/nonexistent/key"}}},
            (
                "agent.apiKey takes its value from the file /nonexistent/key, "
                "which cannot be read: No such file or directory"
            ),
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"env": f"{CANARY}x"}}},
            (
                "agent.apiKey takes its value from the environment variable (its name goes here, not the secret), "
                "which is not set: set it"
            ),
        ),
        (
            {"agent": RESPONSES | {"apiKey": {"file": CANARY}}},
            (
                "agent.apiKey takes its value from a file (its path goes here, not the secret), "
                "which cannot be read: No such file or directory"
            ),
        ),
        ({"channels": []}, "channels must be an object"),
        ({"channels": {"w": "x"}}, "channels.w must be an object"),
        ({"channels": {"w": {"enabled": "yes"}}}, "channels.w.enabled must be true or false"),
        ({"channels": {" ": {}}}, "channels.  needs a name"),
        ({"cron": {}}, "cron must be a list"),
        ({"cron": ["x"]}, "cron[0] must be an object"),
        ({"cron": [JOB | {"evry": "1s"}]}, "cron[0].evry is not a known key; did you mean cron[0].every?"),
        ({"cron": [JOB | {"schedule": "* * * * *"}]}, "cron[0].every or schedule is required, but not both"),
        (
            {"cron": [JOB | {"every": "0s"}]},
            'cron[0].every must be a whole number and a unit, such as "30s", "5m", "2h" or "1d"',
        ),
        ({"cron": [JOB | {"every": 30}]}, "cron[0].every must be a string that is not empty"),
        ({"cron": [JOB | {"message": " "}]}, "cron[0].message must be a string that is not empty"),
        ({"cron": [JOB | {"deliver": 1}]}, "cron[0].deliver must be true or false"),
        ({"cron": [JOB | {"channel": "w"}]}, "cron[0].channel names no enabled entry of channels"),
        (
            {"cron": [JOB | {"channel": "w"}], "channels": {"w": {"enabled": False}}},
            "cron[0].channel names no enabled entry of channels",
        ),
        ({"cron": [JOB, JOB]}, "cron[1].name is also the name of another job"),
    ],
)
def test_a_problem_starts_with_its_key_and_repeats_no_secret(document: object, problem: str) -> None:
    problems = problems_of(document, BLANK=" ")
    assert problems[0] == problem
    assert CANARY not in str(problems)


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("0 9 * *", 'must be a cron expression of five fields, such as "0 9 * * 1-5"'),
        ("0 0 9 * * *", 'must be a cron expression of five fields, such as "0 9 * * 1-5"'),
        ("61 * * * *", "is not a cron expression: bad minute"),
        ("0 0 31 2 *", "is not a cron expression: bad day-of-month"),
        ("0 " + "9" * 5000 + " * * *", 'must be a cron expression of five fields, such as "0 9 * * 1-5"'),
    ],
    ids=lambda value: value[:20],
)
def test_a_wrong_cron_expression_is_explained(schedule: str, problem: str) -> None:
    job = {"name": "report", "schedule": schedule, "message": "report"}
    assert problems_of({"cron": [job]}) == [f"cron[0].schedule {problem}"]


def test_an_agent_may_have_the_chat_completions_api() -> None:
    configuration, problems = interpret({"agent": CHAT}, {})
    assert (configuration.agent, problems) == (ChatCompletions(url=CHAT["url"], model="maven"), [])


@pytest.mark.parametrize(
    ("keys", "environment", "proxy"),
    [
        ({}, {"HTTPS_PROXY": "http://env.example:1"}, ("http://env.example:1", "HTTPS_PROXY")),
        (
            {"proxy": "socks5h://key.example"},
            {"HTTPS_PROXY": "http://env.example:1", "NO_PROXY": "*"},
            ("socks5h://key.example", "agent.proxy"),
        ),
        ({"proxy": {"env": "P"}}, {"P": "http://key.example"}, ("http://key.example", "agent.proxy")),
        ({"proxy": ""}, {"ALL_PROXY": "http://env.example:1"}, ("http://env.example:1", "ALL_PROXY")),
        ({}, {"HTTPS_PROXY": "http://env.example:1", "NO_PROXY": "api.example"}, None),
    ],
)
def test_the_proxy_of_the_key_comes_before_those_of_the_environment(
    keys: dict[str, Any], environment: dict[str, str], proxy: tuple[str, str] | None
) -> None:
    configuration, problems = interpret({"agent": CHAT | keys}, environment)
    assert isinstance(configuration.agent, ChatCompletions)
    assert configuration.agent.proxy == (proxy and AgentProxy(*proxy))
    assert problems == []
    assert "example" not in repr(configuration.agent)


def test_a_proxy_of_the_environment_that_cannot_be_used_is_a_problem() -> None:
    """Reaching the agent directly instead would bypass what the operator of the machine has set."""
    _, problems = interpret({"agent": CHAT}, {"ALL_PROXY": f"socks4://bot:{CANARY}@proxy.example"})
    (problem,) = problems
    assert problem.startswith(
        "agent.url is reached through the proxy of the environment variable ALL_PROXY, which must"
    )
    assert CANARY not in problem


def test_the_echo_agent_ignores_the_keys_of_another_agent() -> None:
    agent = {"type": "echo", "url": 5, "apiKey": {"env": "NOT_SET"}}
    configuration, problems = interpret({"agent": agent}, {})
    assert (configuration.agent, problems) == (Echo(), [])


def test_delivery_requires_a_channel_and_a_chat() -> None:
    assert problems_of({"cron": [JOB | {"deliver": True}]}) == [
        "cron[0].channel is required when cron[0].deliver is true",
        "cron[0].to is required when cron[0].deliver is true",
    ]


def test_all_problems_are_reported_at_once() -> None:
    problems = problems_of({"gateway": {"port": -1}, "agent": {"type": "responses"}, "cron": [{}], "loging": {}})
    assert [each.split()[0] for each in problems] == [
        "loging",
        "gateway.port",
        "agent.url",
        "agent.model",
        "cron[0].name",
        "cron[0].every",
        "cron[0].message",
    ]


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """The line end that editors add to a file is not part of the secret."""
    (tmp_path / "key").write_text("from-file\n", encoding="utf-8")
    for source, expected in (({"env": "KEY"}, "from-env"), ({"file": str(tmp_path / "key")}, "from-file")):
        configuration, problems = interpret({"agent": RESPONSES | {"apiKey": source}}, {"KEY": "from-env"})
        assert problems == []
        assert isinstance(configuration.agent, Responses)
        assert configuration.agent.api_key == expected


def test_a_secret_file_that_is_not_utf_8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    problems = problems_of({"agent": RESPONSES | {"apiKey": {"file": str(tmp_path / "key")}}})
    assert problems == [
        f"agent.apiKey takes its value from the file {tmp_path / 'key'}, which cannot be read as UTF-8 text"
    ]


def test_no_repr_shows_a_secret_or_a_cron_message() -> None:
    configuration, _ = interpret(
        {
            "agent": RESPONSES | {"apiKey": CANARY},
            "channels": {"w": {"token": CANARY}},
            "cron": [JOB | {"message": CANARY, "to": CANARY}],
        },
        {},
    )
    assert CANARY not in repr(configuration) + repr(configuration.agent) + repr(configuration.cron)
