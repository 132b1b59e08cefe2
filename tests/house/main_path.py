"""The files one text message enters: on its way in, and on the way of its answer out.

python -m tests.house.main_path

A message goes through a real channel with `memory:` under a profile hook, several times: what a timer of the channel
enters meanwhile is not entered every time, and is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy
from prometheus_client import CollectorRegistry

import maven_channel_wecom
from maven_channel_wecom import plugin
from maven_channel_wecom.contract import hookspecs
from maven_channel_wecom.contract.messages import OutboundMessage
from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.suite_watch import new_encoding_aes_key, new_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from maven_channel_wecom.contract.messages import InboundMessage

_PACKAGE = str(Path(maven_channel_wecom.__file__).parent) + "/"
# The simulator seals and opens with the same functions as the channel; those calls are its own.
_ELSEWHERE = (f"{_PACKAGE}simulator/", f"{_PACKAGE}host/")
_MESSAGES = 5
_WITHIN_SECONDS = 10.0


class MainPath(NamedTuple):
    """The files of each way in the order they were first entered, each with how often."""

    inward: dict[str, int]
    outward: dict[str, int]


class _Recorder:
    """Counts the calls into each file of the package while it is on, in this thread."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def start(self) -> None:
        self.calls = {}
        sys.setprofile(self._note)

    def stop(self) -> dict[str, int]:
        sys.setprofile(None)
        return self.calls

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(_PACKAGE) and not _is_elsewhere(frame):
            name = file.removeprefix(_PACKAGE)
            self.calls[name] = self.calls.get(name, 0) + 1


def _is_elsewhere(frame: FrameType | None) -> bool:
    """Tell whether a frame belongs to the simulator, or was called by it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_ELSEWHERE):
            return True
        frame = frame.f_back
    return False


class _Host:
    """A host that stops the recorder where the channel hands a message over."""

    def __init__(self, recorder: _Recorder) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        self.hook = manager.hook
        self.metrics = CollectorRegistry()
        self.published: asyncio.Queue[tuple[InboundMessage, dict[str, int]]] = asyncio.Queue()
        self._recorder = recorder

    async def publish(self, message: InboundMessage) -> None:
        self.published.put_nowait((message, self._recorder.stop()))


async def follow() -> MainPath:
    """Send messages through a channel of their own, answer each, and return the files that each of them entered."""
    recorder = _Recorder()
    host = _Host(recorder)
    token, key = new_token(), new_encoding_aes_key()
    settings = {"token": token, "encodingAESKey": key, "host": "127.0.0.1", "port": 0, "allowPrivateNetwork": True}
    inward, outward = [], []
    async with asyncio.timeout(_WITHIN_SECONDS), SimulatedWeCom(token=token, encoding_aes_key=key) as wecom:
        channel: Any = await host.hook.maven_channel_start(name="wecom", config=settings, host=host)
        wecom.callback_url = f"http://127.0.0.1:{channel.port}/wecom/bot"
        for _ in range(_MESSAGES):
            recorder.start()
            sent = await wecom.send(Text("What is for lunch?"))
            if not sent.acknowledged:
                text = f"the callback was answered {sent.status}"
                raise RuntimeError(text)
            message, calls = await host.published.get()
            inward.append(calls)
            answer = OutboundMessage(
                channel="wecom", chat_id=message.chat_id, content="**Soup**", reply_to=message.message_id
            )
            recorder.start()
            receipt = await host.hook.maven_outbound_send(channel=channel, message=answer)
            outward.append(recorder.stop())
            if receipt.outcome != "delivered":
                text = f"the answer went another way: {receipt}"
                raise RuntimeError(text)
        await host.hook.maven_channel_stop(channel=channel)
    return MainPath(_entered_always(inward), _entered_always(outward))


def _entered_always(ways: Sequence[Mapping[str, int]]) -> dict[str, int]:
    *_, last = ways
    return {file: calls for file, calls in last.items() if all(file in way for way in ways)}


def table(title: str, way: Mapping[str, int]) -> str:
    """Return a way as lines of text: each file with its lines and the calls into it, and their sums."""
    lines = {file: len(Path(_PACKAGE, file).read_text(encoding="utf-8").splitlines()) for file in way}
    rows = [f"  {lines[file]:>6} {calls:>6}  {file}" for file, calls in way.items()]
    total = f"  {sum(lines.values()):>6} {sum(way.values()):>6}  in {len(way)} files"
    return "\n".join([f"{title}\n   lines  calls", *rows, total])


def main() -> int:
    """Print both ways, as tables or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the calls into each file of each way")
    as_json: bool = parser.parse_args().json
    # As a host logs by default. No tracing SDK is configured.
    logging.basicConfig(level=logging.INFO, handlers=[logging.NullHandler()])
    found = asyncio.run(follow())
    if as_json:
        sys.stdout.write(json.dumps(found._asdict()))
        return 0
    both = found.inward | found.outward
    lines = sum(len(Path(_PACKAGE, file).read_text(encoding="utf-8").splitlines()) for file in both)
    sys.stdout.write(f"{table('from the socket to publish', found.inward)}\n\n")
    sys.stdout.write(f"{table('from maven_outbound_send to its receipt', found.outward)}\n\n")
    sys.stdout.write(f"{lines} lines in {len(both)} files for both\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
