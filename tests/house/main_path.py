"""Lists the package files that execute while one text message is received and answered.

python -m tests.house.main_path

Several messages go through a real channel with `memory:` under a profile hook. Only files entered for every message are
listed, which leaves out what the channel's timers happened to call.
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
# The simulator seals and opens with the same functions as the channel; its calls must not be counted.
_NOT_COUNTED = (f"{_PACKAGE}simulator/", f"{_PACKAGE}host/")
_MESSAGES = 5
_TIMEOUT_SECONDS = 10.0


class MainPath(NamedTuple):
    """The number of calls into each file, inbound and outbound, in the order the files were first entered."""

    inward: dict[str, int]
    outward: dict[str, int]


class _CallCounter:
    """A profile hook that counts the calls into each file of the package, in the current thread."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def start(self) -> None:
        self.calls = {}
        sys.setprofile(self._count)

    def stop(self) -> dict[str, int]:
        sys.setprofile(None)
        return self.calls

    def _count(self, frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(_PACKAGE) and not _is_called_by_simulator(frame):
            name = file.removeprefix(_PACKAGE)
            self.calls[name] = self.calls.get(name, 0) + 1


def _is_called_by_simulator(frame: FrameType | None) -> bool:
    """Return whether a frame or any of its callers belongs to the simulator or to the embedded host."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_NOT_COUNTED):
            return True
        frame = frame.f_back
    return False


class _Host:
    """A host that stops the counter when the channel publishes a message."""

    def __init__(self, counter: _CallCounter) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        self.hook = manager.hook
        self.metrics = CollectorRegistry()
        self.published: asyncio.Queue[tuple[InboundMessage, dict[str, int]]] = asyncio.Queue()
        self._counter = counter

    async def publish(self, message: InboundMessage) -> None:
        self.published.put_nowait((message, self._counter.stop()))


async def trace_messages() -> MainPath:
    """Send messages through a channel, answer each, and return the files that every one of them entered."""
    counter = _CallCounter()
    host = _Host(counter)
    token, key = new_token(), new_encoding_aes_key()
    settings = {"token": token, "encodingAESKey": key, "host": "127.0.0.1", "port": 0, "allowPrivateNetwork": True}
    inward, outward = [], []
    async with asyncio.timeout(_TIMEOUT_SECONDS), SimulatedWeCom(token=token, encoding_aes_key=key) as wecom:
        channel: Any = await host.hook.maven_channel_start(name="wecom", config=settings, host=host)
        wecom.callback_url = f"http://127.0.0.1:{channel.port}/wecom/bot"
        for _ in range(_MESSAGES):
            counter.start()
            sent = await wecom.send(Text("What is for lunch?"))
            if not sent.acknowledged:
                text = f"the callback was answered {sent.status}"
                raise RuntimeError(text)
            message, calls = await host.published.get()
            inward.append(calls)
            answer = OutboundMessage(
                channel="wecom", chat_id=message.chat_id, content="**Soup**", reply_to=message.message_id
            )
            counter.start()
            receipt = await host.hook.maven_outbound_send(channel=channel, message=answer)
            outward.append(counter.stop())
            if receipt.outcome != "delivered":
                text = f"the answer was not delivered: {receipt}"
                raise RuntimeError(text)
        await host.hook.maven_channel_stop(channel=channel)
    return MainPath(_entered_always(inward), _entered_always(outward))


def _entered_always(runs: Sequence[Mapping[str, int]]) -> dict[str, int]:
    *_, last = runs
    return {file: calls for file, calls in last.items() if all(file in run for run in runs)}


def table(title: str, calls_by_file: Mapping[str, int]) -> str:
    """Return a text table: each file with its number of lines and of calls into it, and the totals."""
    lines = {file: len(Path(_PACKAGE, file).read_text(encoding="utf-8").splitlines()) for file in calls_by_file}
    rows = [f"  {lines[file]:>6} {calls:>6}  {file}" for file, calls in calls_by_file.items()]
    total = f"  {sum(lines.values()):>6} {sum(calls_by_file.values()):>6}  in {len(calls_by_file)} files"
    return "\n".join([f"{title}\n   lines  calls", *rows, total])


def main() -> int:
    """Print the inbound and the outbound path, as tables or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the number of calls into each file as JSON")
    as_json: bool = parser.parse_args().json
    # INFO is a host's default level. No tracing SDK is configured.
    logging.basicConfig(level=logging.INFO, handlers=[logging.NullHandler()])
    found = asyncio.run(trace_messages())
    if as_json:
        sys.stdout.write(json.dumps(found._asdict()))
        return 0
    both = found.inward | found.outward
    lines = sum(len(Path(_PACKAGE, file).read_text(encoding="utf-8").splitlines()) for file in both)
    sys.stdout.write(f"{table('from the socket to publish', found.inward)}\n\n")
    sys.stdout.write(f"{table('from maven_outbound_send to its receipt', found.outward)}\n\n")
    sys.stdout.write(f"{lines} lines in {len(both)} files altogether\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
