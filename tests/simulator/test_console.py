"""The console with a correct bot, and as a process that reads from a pipe."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol.callback import MediaItem, TextItem
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator import console
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.simulator.bots import frame, growing
from tests.suite_watch import new_encoding_aes_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot

KEY = new_encoding_aes_key()


async def typed(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def run_lines(wecom: SimulatedWeCom, *lines: str) -> list[str]:
    printed: list[str] = []
    async with asyncio.timeout(30):
        await console.run_console(wecom, typed(*lines), printed.append, user="alice")
    return printed


async def test_a_typed_line_is_sent_and_its_reply_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The input ends right after the last line, before its reply arrives."""
    printed = await run_lines(wecom, "hello", "", "/voice spoken")
    assert printed[1].startswith("URL check passed")
    assert [line for line in printed if line.startswith("-> acknowledged")]
    assert sorted(line.rpartition(": ")[2] for line in printed if line.startswith("<- reply")) == ["hello", "spoken"]


async def test_pictures_and_files_are_read_from_disk_and_read_errors_are_explained(
    wecom: SimulatedWeCom, bot: Bot, tmp_path: Path
) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(draw_png(2, 2))
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    large.touch()
    os.truncate(large, 200_000_001)
    # Nobody writes to it, so reading it would never end.
    os.mkfifo(pipe)
    printed = await run_lines(
        wecom,
        f"/image {picture}",
        f"/file {picture}",
        f"/image {tmp_path / 'none.png'}",
        "/file a\0b",
        f"/file {large}",
        f"/file {pipe}",
        "/file /dev/zero",
    )
    replies = sorted(line.rpartition(": ")[2] for line in printed if line.startswith("<- reply"))
    assert [reply[:16] for reply in replies] == ["[file image/png,", "[image image/png"]
    assert f"cannot read {tmp_path / 'none.png'}: No such file or directory" in printed
    assert any(line.startswith("cannot read a\0b: ") and "embedded null" in line for line in printed)
    assert f"cannot read {large}: it is larger than 200 MB" in printed
    for name in (pipe, "/dev/zero"):
        assert f"cannot read {name}: it is a folder, a pipe or a device" in printed


async def test_user_and_group_can_be_changed(wecom: SimulatedWeCom, bot: Bot) -> None:
    await run_lines(wecom, "/user bob", "/group wr1", "one", "/group", "two", "/quit", "three")
    assert [(callback.sender_id, callback.chat_id) for callback in bot.received] == [("bob", "wr1"), ("bob", "bob")]


async def test_a_message_that_cannot_be_sent_from_a_group_is_explained(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "/group wr1", "/voice x", "hello")
    assert "WeCom sends no Voice from a group; /group alone goes back to the single chat" in printed
    assert len(bot.received) == 1


async def test_again_redelivers_the_last_message(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "/again", "hello", "/again")
    assert "nothing was sent yet" in printed
    assert len({callback.message_id for callback in bot.received}) == 1
    assert len(bot.received) == 2
    assert len(wecom.recorded.replies) == 1


async def test_a_command_without_its_argument_prints_the_help_and_sends_nothing(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    printed = await run_lines(wecom, "/help", "/image")
    assert len([line for line in printed if "/again" in line]) == 3
    assert bot.received == []


async def test_an_unknown_command_is_named_and_not_sent(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "/nonsense x")
    assert printed[-1] == "unknown command /nonsense: //nonsense sends it as a text, /help lists the commands"
    assert bot.received == []


@pytest.mark.parametrize("line", ["/new", "/新话题"])
async def test_what_starts_a_new_conversation_is_sent_as_it_is(line: str, wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, line)
    assert printed[-1].endswith(f": {line}")


async def test_while_no_answer_comes_the_likely_reasons_are_named(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    printed: list[str] = []
    hinted = asyncio.Event()

    def print_line(line: str) -> None:
        printed.append(line)
        if line.startswith("no answer yet"):
            hinted.set()

    async def lines() -> AsyncIterator[str]:
        yield "hello"
        await hinted.wait()
        await bot.post(bot.received[0].response_url, markdown_body("late"))

    async with asyncio.timeout(30):
        await console.run_console(wecom, lines(), print_line, user="alice", hint_seconds=0.01)
    assert "no answer yet: does the agent answer, and does the channel have allowPrivateNetwork?" in printed
    assert printed[-1].endswith(": late")


async def test_offences_are_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.acknowledgement = b'"done"'
    printed = await run_lines(wecom, "hello")
    assert "!! unexpected_answer: the answer to a callback is none that WeCom documents for it" in printed


async def test_a_failed_url_check_and_a_refused_reply_are_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    async with asyncio.timeout(30):
        printed: list[str] = []
        await console.run_console(wecom, typed("x", "/quit"), printed.append, user="alice")
        await bot.post(bot.received[0].response_url, markdown_body(""))
        wecom.callback_url = wecom.base_url
        await console.run_console(wecom, typed("/quit"), printed.append, user="alice")
    assert any(line.startswith("<- refused reply") for line in printed)
    assert "URL check failed: WeCom's console would not save this URL" in printed


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    console.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "WECOM_TOKEN and WECOM_ENCODING_AES_KEY are not set: export them from secrets.env"),
        (["--token", "t"], "the EncodingAESKey (--encoding-aes-key or WECOM_ENCODING_AES_KEY) must have 43 characters"),
        (["--encoding-aes-key", KEY], "no token: give --token or set WECOM_TOKEN"),
        (["--token", "t", "--encoding-aes-key", KEY, "--callback-url", "ftp://x"], "--callback-url must be a URL"),
        (["--token", "t", "--encoding-aes-key", KEY, "--callback-url", "http://[x"], "--callback-url must be a URL"),
    ],
    ids=["nothing", "key", "token", "scheme", "address"],
)
def test_wrong_arguments_exit_2_with_one_sentence_without_the_key(
    given: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(console.TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(console.KEY_VARIABLE, raising=False)
    assert console.main(arguments(*given)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert KEY not in error


def test_a_port_in_use_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        port = str(bound.getsockname()[1])
        assert console.main(arguments("--token", "t", "--encoding-aes-key", KEY, "--port", port)) == 1
    sentence = f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --port\n"
    assert capsys.readouterr().err == f"maven-wecom simulator: {sentence}"


@pytest.mark.parametrize("ending", ["end of input", "interrupt"])
async def test_the_command_ends_cleanly(ending: str, wecom: SimulatedWeCom) -> None:
    """The token and the key come from the environment."""
    code = (
        "import argparse, sys; from maven_channel_wecom.simulator import console as c; p = argparse.ArgumentParser();"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code + "c.add_arguments(p); sys.exit(c.main(p.parse_args()))"),
        *("--callback-url", wecom.base_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {console.TOKEN_VARIABLE: "t", console.KEY_VARIABLE: KEY},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while b"/quit" not in await process.stdout.readline():
                pass
            if ending == "interrupt":
                process.send_signal(signal.SIGINT)
                await process.wait()
            process.stdin.close()
            _, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, error) == (0, b"")


async def test_an_entry_is_sent_and_its_greeting_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.welcome = "Hello, ask me anything."
    printed = await run_lines(wecom, "/enter")
    assert printed[-1] == "<- welcome: Hello, ask me anything."
    assert wecom.recorded.offences == []


@pytest.mark.parametrize(("word", "kind"), [("good", "accurate"), ("bad", "inaccurate"), ("withdraw", "withdrawn")])
async def test_the_last_reply_can_be_rated(wecom: SimulatedWeCom, bot: Bot, word: str, kind: str) -> None:
    bot.feedback_id = "f1"
    reply = await wecom.send(Text("rate this"))
    await reply.reply()
    await run_lines(wecom, f"/feedback {word} too short")
    event = bot.received[-1].event
    assert event is not None
    assert event.rating is not None
    assert (event.rating.id, event.rating.kind) == ("f1", kind)
    assert event.rating.comment == ("too short" if word == "bad" else "")


async def test_without_an_id_no_reply_can_be_rated(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "/feedback good", "/feedback nonsense")
    assert "no reply can be rated: set feedback to true in the entry of the channel" in printed
    assert "/image PATH" in printed[-1]
    assert bot.received == []


def streamed(printed: list[str]) -> list[str]:
    return [line for line in printed if line.startswith("<- stream")]


async def test_a_growing_bubble_is_printed_part_by_part_and_waited_for(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The input ends at once, and the agent takes five minutes."""
    bot.frames = growing("", *["One."] * 300, "One. Two.", "Something else", "Something else, at last")
    bot.replies = False
    printed = await run_lines(wecom, "hello")
    assert streamed(printed) == [
        "<- stream after 0.00 s, still empty",
        "<- stream after 1.00 s: One.",
        "<- stream after 301.00 s: … Two.",
        "<- stream after 302.00 s: Something else",
        "<- stream finished after 303.00 s: …, at last",
    ]
    assert printed[-1] == streamed(printed)[-1]


async def test_the_end_of_a_bubble_without_new_text_is_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "done", "done"), False
    assert streamed(await run_lines(wecom, "hello"))[1:] == [
        "<- stream after 1.00 s: done",
        "<- stream finished after 2.00 s",
    ]


async def test_a_stream_that_is_never_finished_is_explained(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The answer comes by another way, long after WeCom stopped asking."""
    bot.frames, bot.replies = growing(*["so far"] * 1_000), False
    wecom.stream_seconds = 3.0
    printed: list[str] = []
    ended = asyncio.Event()

    def print_line(line: str) -> None:
        printed.append(line)
        if line.startswith("!!"):
            ended.set()

    async def lines() -> AsyncIterator[str]:
        yield "hello"
        await ended.wait()
        await bot.post(bot.received[0].response_url, markdown_body("by reply"))

    async with asyncio.timeout(30):
        await console.run_console(wecom, lines(), print_line, user="alice")
    assert any(line.startswith("!! unfinished_stream: ") for line in printed)
    assert printed[-1].endswith(": by reply")


async def test_a_notice_is_printed_and_the_answer_after_it(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames = growing("Working on it…")
    printed = await run_lines(wecom, "hello")
    assert streamed(printed) == ["<- stream finished after 0.00 s: Working on it…"]
    assert [line for line in printed if line.endswith("s: hello")]


async def test_several_lines_are_one_text_and_commands_within_them_are_text(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "/lines", "first", "  second", "", "/quit", ".", "/lines", ".", "/lines", "third")
    replies = [line for line in printed if line.startswith("<- reply")]
    assert sorted(line.partition("s: ")[2] for line in replies) == ["first\n  second\n\n/quit", "third"]


async def test_two_slashes_send_a_command_as_text(wecom: SimulatedWeCom, bot: Bot) -> None:
    printed = await run_lines(wecom, "//new", "//")
    assert sorted(line.rpartition(": ")[2] for line in printed if line.startswith("<- reply")) == ["/", "/new"]


async def test_the_next_text_quotes_and_others_do_not(wecom: SimulatedWeCom, bot: Bot) -> None:
    await run_lines(wecom, "/quote what they said", "/voice spoken", "what is this", "and now")
    assert [callback.quoted_items for callback in bot.received] == [(), (TextItem("what they said"),), ()]
    await run_lines(wecom, "/quote x", "/quote", "nothing")
    assert bot.received[-1].quoted_items == ()


async def test_a_picture_is_sent_with_text(wecom: SimulatedWeCom, bot: Bot, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(draw_png(2, 2))
    await run_lines(wecom, "/group wr1", f"/mixed {picture} what is this", "/mixed")
    [callback] = bot.received
    text, image = callback.items
    assert (callback.type, text) == ("mixed", TextItem("what is this"))
    assert isinstance(image, MediaItem)


async def test_a_streamed_answer_can_be_rated(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    bot.frames = lambda stream_id, number: frame(stream_id, "x", finish=True, feedback={"id": "f1"})
    await wecom.send(Text("rate this"))
    bot.frames = None
    await run_lines(wecom, "/feedback good")
    event = bot.received[-1].event
    assert event is not None
    assert event.rating is not None
    assert event.rating.id == "f1"
