"""Tests for reading the configuration of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from maven_channel_wecom.config import KEYS, conflicts, problems, read_config, state_address
from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials

if TYPE_CHECKING:
    from pathlib import Path

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
OTHER_KEY = "GFEDCBA9876543210zyxwvutsrqponmlkjihgfedcba"
MINIMAL: dict[str, Any] = {"token": "your-token", "encodingAESKey": KEY}
ORIGINAL: dict[str, Any] = {
    "enabled": True,
    "token": "your-token",
    "encodingAESKey": KEY,
    "receiveId": "",
    "port": 9886,
    "allowFrom": ["zhangsan"],
    "proxy": "",
}


def test_the_configuration_of_the_go_original_works_unchanged() -> None:
    assert problems("wecom", ORIGINAL) == []
    config = read_config("wecom", ORIGINAL)
    assert config.port == 9886
    assert config.rules.senders == {"zhangsan"}
    assert config.proxy is None


def test_every_key_but_the_token_and_the_aes_key_has_a_default() -> None:
    config = read_config("wecom", MINIMAL)
    assert [credentials.token for credentials in config.credentials] == ["your-token"]
    assert (config.host, config.port, config.path, config.state) == ("0.0.0.0", 9886, "/wecom/bot", "memory:")
    assert (config.overflow, config.max_skew_seconds, config.allow_private_network) == ("truncate", 0, False)


CHANGED: dict[str, Any] = {
    "token": "another-token",
    "encodingAESKey": OTHER_KEY,
    "receiveId": "receiver",
    "host": "127.0.0.1",
    "port": 0,
    "path": "/elsewhere",
    "allowFrom": ["alice"],
    "allowGroups": ["group"],
    "botIds": ["bot"],
    "progress": "stream",
    "progressText": "",
    "welcomeText": "hello",
    "refusalText": {"zh": "抱歉", "en": "sorry"},
    "mentionNames": ["My Bot"],
    "proxy": "http://proxy:8080",
    "allowPrivateNetwork": True,
    "state": "sqlite:state.db",
    "overflow": "continue",
    "language": "zh",
    "feedback": True,
    "maxSkewSeconds": 300,
    "previousToken": "old",
    "previousEncodingAESKey": OTHER_KEY,
    "inboxLimit": 5,
    "mediaLimitBytes": 50_000_000,
    "shortPath": True,
    "idleSeconds": 60,
    "drainSeconds": 3,
}


@pytest.mark.parametrize("key", [key.name for key in KEYS if key.name not in {"enabled", "type"}])
def test_every_key_changes_the_configuration(key: str) -> None:
    assert key in CHANGED, f"add a value for {key} that is not its default to CHANGED"
    changed = read_config("wecom", MINIMAL | {key: CHANGED[key]})
    assert changed != read_config("wecom", MINIMAL), f"WeComConfig and read_config in config.py ignore {key}"


@pytest.mark.parametrize("value", [True, False])
def test_an_obsolete_key_is_listed_and_has_no_other_effect(*, value: bool) -> None:
    config = read_config("wecom", MINIMAL | {"shortPath": value})
    assert config.obsolete == ("shortPath",)
    assert msgspec.structs.replace(config, obsolete=()) == read_config("wecom", MINIMAL)


def test_the_type_of_an_obsolete_key_is_still_checked() -> None:
    assert problems("wecom", MINIMAL | {"shortPath": "yes"}) == ["channels.wecom.shortPath must be true or false"]


def test_all_problems_are_reported_together_each_with_its_key() -> None:
    found = problems(
        "support",
        {
            "encodingAESKey": "short",
            "port": 70000,
            "allowFrom": "alice",
            "encodingAesKey": KEY,
            "proxy": "ftp://proxy:1",
            "state": "cassette:",
            "path": "bot",
            "overflow": "explode",
            "maxSkewSeconds": -1,
            "mentionNames": [""],
            "enabled": "yes",
            "host": "",
            "inboxLimit": 0,
            "mediaLimitBytes": 10_485_760,
            "drainSeconds": "10",
        },
    )
    assert {sentence.split()[0] for sentence in found} == {
        f"channels.support.{key}"
        for key in (
            "token",
            "encodingAESKey",
            "port",
            "allowFrom",
            "encodingAesKey",
            "proxy",
            "state",
            "path",
            "overflow",
            "maxSkewSeconds",
            "mentionNames",
            "enabled",
            "host",
            "inboxLimit",
            "mediaLimitBytes",
            "drainSeconds",
        )
    }


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        pytest.param("encodingAesKey", "encodingAESKey", id="case"),
        pytest.param("Token", "token", id="capital"),
        pytest.param("allow_from", "allowFrom", id="snake"),
        pytest.param("reciveId", "receiveId", id="typo"),
        pytest.param("previousAESKey", "previousEncodingAESKey", id="abbreviation"),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_known_one(key: str, nearest: str) -> None:
    assert problems("wecom", {**MINIMAL, key: "x"}) == [
        f"channels.wecom.{key} is not a known key; did you mean channels.wecom.{nearest}?"
    ]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        pytest.param("token", "", "is required", id="no-token"),
        pytest.param("token", "two words", "without spaces", id="token-with-a-space"),
        pytest.param("token", 5, "must be a string", id="token-a-number"),
        pytest.param("token", None, "must be a string", id="token-null"),
        pytest.param("drainSeconds", 10**400, "must be a number, 0 or more", id="drain-beyond-any-float"),
        pytest.param("allowFrom", None, "list of strings", id="null-does-not-open-the-bot"),
        pytest.param("proxy", None, "must be a string", id="null-does-not-drop-the-proxy"),
        pytest.param("path", "/a%20b", "URL path", id="path-with-percent"),
        pytest.param("token", {"env": "A", "file": "B"}, "must be a string", id="token-of-two-sources"),
        pytest.param("encodingAESKey", KEY[:-1], "43 characters, this one has 42", id="short-key"),
        pytest.param("encodingAESKey", "!" * 43, "base64", id="key-not-base64"),
        pytest.param("previousEncodingAESKey", "x", "43 characters", id="short-previous-key"),
        pytest.param("port", "9886", "whole number", id="port-a-text"),
        pytest.param("port", True, "whole number", id="port-true"),
        pytest.param("receiveId", 5, "must be a string", id="receive-id-a-number"),
        pytest.param("allowFrom", [1], "list of strings", id="user-a-number"),
        pytest.param("allowPrivateNetwork", 1, "true or false", id="flag-a-number"),
        pytest.param("drainSeconds", float("inf"), "must be a number, 0 or more", id="endless-drain"),
        pytest.param("path", "/a/{b}", "URL path", id="path-with-braces"),
        pytest.param("idleSeconds", 0, "a whole number, 1 or more", id="no-idle-time"),
        pytest.param("host", "[::]", "without brackets", id="host-in-brackets"),
        pytest.param("host", "[::1]", "without brackets", id="loopback-in-brackets"),
        pytest.param("host", "127.0.0.1:9886", "without a port", id="host-with-port"),
        pytest.param("host", "http://127.0.0.1", "without http://", id="host-as-url"),
        pytest.param("host", " 127.0.0.1", "a space (U+0020)", id="host-with-space"),
        pytest.param("host", "127.0.0.1\u200b", "zero width space (U+200B)", id="host-with-invisible-character"),
        pytest.param("state", '"sqlite:wecom.db"', "is wrapped in quotes", id="state-in-quotes"),
        pytest.param("state", "\ufeffmemory:", "a byte order mark (U+FEFF)", id="state-with-mark"),
        pytest.param("state", "STATE=memory:", "begins with NAME=", id="state-as-assignment"),
        pytest.param(
            "state", "redis://h\u200b/1", "zero width space (U+200B)", id="redis-host-with-invisible-character"
        ),
        pytest.param("state", "redis://:p\u200bw@h", "zero width space (U+200B)", id="redis-password-with-the-same"),
        pytest.param("state", "redis://h\0", "NUL (U+0000)", id="redis-with-nul"),
        pytest.param("receiveId", "ww1\u200b", "zero width space (U+200B)", id="receive-id-with-invisible-character"),
        pytest.param("allowFrom", ["bob", "alice "], "an id that must be printable", id="user-with-space"),
        pytest.param("allowGroups", ["\ufeffg"], "a byte order mark (U+FEFF)", id="group-with-mark"),
        pytest.param("botIds", ["b\u200b"], "zero width space (U+200B)", id="bot-with-invisible-character"),
    ],
)
def test_the_problem_of_a_wrong_value_names_the_key_and_what_would_be_right(
    key: str, value: object, words: str
) -> None:
    (problem,) = problems("wecom", {**MINIMAL, key: value})
    assert problem.startswith(f"channels.wecom.{key} ")
    assert words in problem


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """White space around a secret, such as the final newline of a file, is removed."""
    monkeypatch.setenv("WECOM_TOKEN", "from-env")
    (tmp_path / "key").write_text(KEY + "\n", encoding="utf-8")
    config = read_config("wecom", {"token": {"env": "WECOM_TOKEN"}, "encodingAESKey": {"file": str(tmp_path / "key")}})
    assert config.credentials[0].token == "from-env"


def test_the_problem_of_a_secret_that_cannot_be_read_names_the_source_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for reference, words in [
        ({"env": "MAVEN_TEST_NOT_SET"}, "environment variable MAVEN_TEST_NOT_SET"),
        ({"file": str(tmp_path / "missing")}, "No such file"),
        ({"file": str(tmp_path)}, "Is a directory"),
        ({"file": str(tmp_path / "empty")}, "which is empty"),
        ({"file": str(tmp_path / "binary")}, "as UTF-8 text"),
    ]:
        (problem,) = problems("wecom", {**MINIMAL, "token": reference})
        assert words in problem


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"env": "canarytoken4711"}, "(its name goes here, not"),
        ({"file": "canarytoken4711"}, "(its path goes here, not"),
    ],
)
def test_a_secret_written_in_place_of_its_variable_or_path_is_not_shown(reference: dict[str, str], words: str) -> None:
    """Problems are printed to a terminal or a log."""
    (problem,) = problems("wecom", {**MINIMAL, "token": reference})
    assert words in problem
    assert "canary" not in problem


def test_a_path_of_the_state_may_have_spaces() -> None:
    assert problems("wecom", {**MINIMAL, "state": "sqlite:/var/lib/My Bot/wecom.db"}) == []


def test_a_connection_may_be_idle_for_longer_than_reverse_proxies_keep_it() -> None:
    """Caddy keeps a connection for 120 s by default, cloud load balancers for 600 s, Envoy for an hour."""
    assert read_config("wecom", MINIMAL).idle_seconds > 3600


@pytest.mark.parametrize(
    ("previous", "pairs"),
    [
        pytest.param({}, [("your-token", KEY)], id="none"),
        pytest.param({"previousToken": "old"}, [("your-token", KEY), ("old", KEY)], id="token"),
        pytest.param({"previousEncodingAESKey": OTHER_KEY}, [("your-token", KEY), ("your-token", OTHER_KEY)], id="key"),
        pytest.param(
            {"previousToken": "old", "previousEncodingAESKey": OTHER_KEY},
            [("your-token", KEY), ("old", OTHER_KEY)],
            id="both",
        ),
        pytest.param(
            {"previousToken": "your-token", "previousEncodingAESKey": KEY}, [("your-token", KEY)], id="unchanged"
        ),
    ],
)
def test_during_a_rotation_the_current_and_the_previous_pair_are_accepted(
    previous: dict[str, str], pairs: list[tuple[str, str]]
) -> None:
    """A previous token never opens anything with a new key if both were changed. The current pair is tried first."""
    config = read_config("wecom", {**MINIMAL, **previous})
    assert config.credentials == tuple(Credentials(token, decode_key(key)) for token, key in pairs)


def test_neither_a_problem_nor_a_repr_contains_a_secret() -> None:
    """Problems are printed, and values end up in tracebacks."""
    secrets = {
        "token": "canary token",
        "encodingAESKey": "canary-key",
        "previousToken": "canary\n",
        "previousEncodingAESKey": "canary",
        "proxy": "socks9://user:canary@proxy:1",
        "state": "redis9://user:canary@redis",
    }
    assert "canary" not in " ".join(problems("wecom", secrets))
    with pytest.raises(ConfigError) as raised:
        read_config("wecom", secrets)
    assert "canary" not in str(raised.value)
    settings = {"token": "canary", "proxy": "http://user:canary@proxy:8080", "state": "redis://:canary@redis"}
    config = read_config("wecom", MINIMAL | settings)
    assert "canary" not in repr(config)


def test_the_address_of_the_state_is_read_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WECOM_STATE", "redis://user:canary@redis:6379/0")
    (tmp_path / "state").write_text("sqlite:/var/lib/My Bot/wecom.db\n", encoding="utf-8")
    from_environment = {"state": {"env": "WECOM_STATE"}}
    assert read_config("wecom", MINIMAL | from_environment).state == "redis://user:canary@redis:6379/0"
    assert state_address("wecom", from_environment) == "redis://user:canary@redis:6379/0"
    from_file = read_config("wecom", MINIMAL | {"state": {"file": str(tmp_path / "state")}})
    assert from_file.state == "sqlite:/var/lib/My Bot/wecom.db"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "takes its value from the file {file}, which cannot be read: No such file or directory"),
        (" \n", "takes its value from the file {file}, which is empty"),
        ("canary", 'must be "memory:", "sqlite:PATH" or "redis://HOST"'),
        ("WECOM_STATE=redis://:canary@redis", "begins with NAME=, as a line of a shell does: leave that out"),
        ("redis://redis/canary", "must end with the host and port, or with the number of a database"),
    ],
)
def test_what_is_wrong_with_a_referenced_address_is_told_without_the_address(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "state"
    if content:
        file.write_text(content, encoding="utf-8")
    entry = {"state": {"file": str(file)}}
    expected = f"channels.wecom.state {problem.format(file=file)}"
    assert problems("wecom", MINIMAL | entry) == [expected]
    # Other keys, which are missing here, do not matter.
    with pytest.raises(ConfigError) as raised:
        state_address("wecom", entry)
    assert raised.value.problems == (expected,)


@pytest.mark.parametrize(
    ("one", "other", "exclude"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::1", "::", True),
        ("0.0.0.0", "::1", False),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_two_listeners_on_one_port_exclude_each_other_if_their_addresses_overlap(
    one: str, other: str, *, exclude: bool
) -> None:
    entries: dict[str, dict[str, Any]] = {"a": {"host": one, "port": 9886}, "b": {"host": other}}
    sentence = "channels.a.port and channels.b.port are both 9886: give each a port of its own"
    assert conflicts(entries, ()) == ([sentence] if exclude else [])
    taken = conflicts({"a": {"host": one}}, [(other, 9886, "gateway.port")])
    assert taken == (["gateway.port and channels.a.port are both 9886: give each a port of its own"] if exclude else [])


def test_a_free_port_and_a_port_with_a_problem_exclude_nothing() -> None:
    assert conflicts({"a": {"port": 0}, "b": {"port": 0}, "c": {"port": "9886"}, "d": {}}, ()) == []


def test_two_entries_cannot_share_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    entries: dict[str, dict[str, Any]] = {
        "a": {"port": 1, "state": f"sqlite:{tmp_path}/state.db"},
        "b": {"port": 2, "state": f"sqlite:{tmp_path}/link/state.db"},
        "c": {"port": 3, "state": f"sqlite:{tmp_path}/other.db"},
        "d": {"port": 4},
        "e": {"port": 5},
        "f": {"port": 6, "state": {"file": str(tmp_path / "address")}},
    }
    (tmp_path / "address").write_text(f"sqlite:{tmp_path}/other.db\n", encoding="utf-8")
    assert conflicts(entries, ()) == [
        "channels.a.state and channels.b.state are the same file: give each a file of its own",
        "channels.c.state and channels.f.state are the same file: give each a file of its own",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\u200b", "must hold something to read in each language"),
        ({"zh": "抱歉", "en": " "}, "must hold something to read in each language"),
        ("\ud800", "must be text that can be encoded, and holds half a character (a lone surrogate)"),
        ("x" * 20_481, "must be at most 20480 bytes of UTF-8 in each language"),
        ({"zh": "汉" * 6827, "en": "sorry"}, "must be at most 20480 bytes of UTF-8 in each language"),
    ],
    ids=["invisible", "one is blank", "half a character", "long", "long in Chinese"],
)
def test_a_text_for_the_chat_can_be_seen_and_sent(text: object, problem: str) -> None:
    assert problems("wecom", MINIMAL | {"refusalText": text}) == [f"channels.wecom.refusalText {problem}"]


def test_a_welcome_is_shorter_than_what_wecom_cuts() -> None:
    assert problems("wecom", MINIMAL | {"welcomeText": "x" * 2048}) == []
    (problem,) = problems("wecom", MINIMAL | {"welcomeText": "x" * 2049})
    assert problem == "channels.wecom.welcomeText must be at most 2048 bytes of UTF-8 in each language"
