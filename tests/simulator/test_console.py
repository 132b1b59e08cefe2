"""The console against a correct bot, and as a process with a keyboard that is a pipe."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator import console
from maven_channel_wecom.simulator.picture import draw_png
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


async def play(wecom: SimulatedWeCom, *lines: str) -> list[str]:
    said: list[str] = []
    async with asyncio.timeout(30):
        await console.run_console(wecom, typed(*lines), said.append, user="alice")
    return said


async def test_a_typed_line_is_sent_and_its_reply_printed(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Also when the input ends right after it."""
    said = await play(wecom, "hello", "", "/voice spoken")
    assert said[1].startswith("URL check passed")
    assert [line for line in said if line.startswith("-> acknowledged")]
    assert sorted(line.rpartition(": ")[2] for line in said if line.startswith("<- reply")) == ["hello", "spoken"]


async def test_pictures_and_files_are_read_from_disk(wecom: SimulatedWeCom, bot: Bot, tmp_path: Path) -> None:
    """And a path that cannot be read is a sentence."""
    picture = tmp_path / "p.png"
    picture.write_bytes(draw_png(2, 2))
    said = await play(wecom, f"/image {picture}", f"/file {picture}", f"/image {tmp_path / 'none.png'}")
    replies = sorted(line.rpartition(": ")[2] for line in said if line.startswith("<- reply"))
    assert [reply[:16] for reply in replies] == ["[file image/png,", "[image image/png"]
    assert f"cannot read {tmp_path / 'none.png'}: No such file or directory" in said


async def test_user_and_group_can_be_changed(wecom: SimulatedWeCom, bot: Bot) -> None:
    """`/group` alone goes back to the single chat."""
    await play(wecom, "/user bob", "/group wr1", "one", "/group", "two", "/quit", "three")
    assert [(seen.sender_id, seen.chat_id) for seen in bot.seen] == [("bob", "wr1"), ("bob", "bob")]


async def test_what_wecom_does_not_send_from_a_group_is_explained(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The console does not end over it."""
    said = await play(wecom, "/group wr1", "/voice x", "hello")
    assert "WeCom sends no Voice from a group; /group alone goes back to the single chat" in said
    assert len(bot.seen) == 1


async def test_again_delivers_the_last_message_again(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The bot sees it twice and answers once."""
    said = await play(wecom, "/again", "hello", "/again")
    assert "nothing was sent yet" in said
    assert len({seen.message_id for seen in bot.seen}) == 1
    assert len(bot.seen) == 2
    assert len(wecom.recorded.replies) == 1


async def test_an_unknown_command_shows_the_commands(wecom: SimulatedWeCom, bot: Bot) -> None:
    """Instead of sending it to the bot."""
    said = await play(wecom, "/nonsense", "/image")
    assert len([line for line in said if "/again" in line]) == 3
    assert bot.seen == []


async def test_offences_are_printed_as_they_come(wecom: SimulatedWeCom, bot: Bot) -> None:
    """With the rule that was broken."""
    bot.acknowledgement = b'"done"'
    said = await play(wecom, "hello")
    assert "!! unexpected_answer: the answer to a callback is none of the empty replies" in said


async def test_a_bot_that_is_silent_is_reported(wecom: SimulatedWeCom, bot: Bot) -> None:
    """A failed URL check and a refused reply are said too, and the console goes on."""
    bot.replies = False
    async with asyncio.timeout(30):
        said: list[str] = []
        await console.run_console(wecom, typed("x", "/quit"), said.append, user="alice")
        await bot.post(bot.seen[0].response_url, markdown_body(""))
        wecom.callback_url = wecom.base_url
        await console.run_console(wecom, typed("/quit"), said.append, user="alice")
    assert any(line.startswith("<- refused reply") for line in said)
    assert "URL check failed: WeCom's console would not save this URL" in said


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    console.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--token", "t"], "the EncodingAESKey (--encoding-aes-key or WECOM_ENCODING_AES_KEY) must have 43 characters"),
        (["--encoding-aes-key", KEY], "no token: give --token or set WECOM_TOKEN"),
        (["--token", "t", "--encoding-aes-key", KEY, "--callback-url", "ftp://x"], "--callback-url must be a URL"),
        (["--token", "t", "--encoding-aes-key", KEY, "--callback-url", "http://[x"], "--callback-url must be a URL"),
    ],
    ids=["key", "token", "scheme", "address"],
)
def test_wrong_arguments_are_one_sentence(
    given: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and neither traceback nor secret."""
    monkeypatch.delenv(console.TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(console.KEY_VARIABLE, raising=False)
    assert console.main(arguments(*given)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert KEY not in error


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the port and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert console.main(arguments("--token", "t", "--encoding-aes-key", KEY, "--port", port)) == 2
    assert f"cannot listen on 127.0.0.1 port {port}: " in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["end of input", "interrupt"])
async def test_the_command_ends_cleanly(ending: str, wecom: SimulatedWeCom) -> None:
    """End of input and Ctrl-C both give exit code 0 and nothing on stderr; the secrets come from the environment."""
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
