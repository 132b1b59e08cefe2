"""The faults that a click arms for the next message."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NamedTuple

from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.simulator.faults import Errcode, ResetAfterReading, Status
from maven_channel_wecom.simulator.media_faults import Expired
from maven_channel_wecom.simulator.refresh_faults import LostAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from maven_channel_wecom.simulator.faults import InterceptedRequest
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

SLOW_ANSWER_SECONDS: Final = 4.0
"""How long WeCom takes for a slow answer. Lower: nobody notices. Higher: the bot gives up before."""

_LOST_REFRESHES = 3
_UNAVAILABLE = 503


@dataclass(frozen=True)
class SlowAnswer:
    """An answer that comes after `seconds`; the request was carried out at once."""

    seconds: float = SLOW_ANSWER_SECONDS
    repeatable: ClassVar[bool] = False

    async def __call__(self, intercepted: InterceptedRequest) -> web.StreamResponse:
        answer = await intercepted.accept()
        await asyncio.sleep(self.seconds)
        return answer


class FaultButton(NamedTuple):
    """One fault. `name` is part of its texts' names, and `affects` what it is played on."""

    name: str
    affects: Literal["reply", "media", "refresh"]
    arm: Callable[[SimulatedWeCom, str], None]
    """Arms it for a message, given the message's id."""


FAULT_BUTTONS: Final = (
    FaultButton(
        "busy", "reply", lambda wecom, id_: wecom.reply_faults.add(Errcode(errcodes.SYSTEM_BUSY), message_id=id_)
    ),
    FaultButton(
        "rate", "reply", lambda wecom, id_: wecom.reply_faults.add(Errcode(errcodes.RATE_LIMIT), message_id=id_)
    ),
    FaultButton(
        "code",
        "reply",
        lambda wecom, id_: wecom.reply_faults.add(Errcode(errcodes.RESPONSE_CODE_INVALID), message_id=id_),
    ),
    FaultButton("status", "reply", lambda wecom, id_: wecom.reply_faults.add(Status(_UNAVAILABLE), message_id=id_)),
    FaultButton("reset", "reply", lambda wecom, id_: wecom.reply_faults.add(ResetAfterReading(), message_id=id_)),
    FaultButton("slow", "reply", lambda wecom, id_: wecom.reply_faults.add(SlowAnswer(), message_id=id_)),
    FaultButton("expired", "media", lambda wecom, id_: wecom.media_faults.add(Expired(), message_id=id_)),
    FaultButton(
        "refresh",
        "refresh",
        lambda wecom, id_: wecom.refresh_faults.add(*[LostAnswer()] * _LOST_REFRESHES, message_id=id_),
    ),
)
"""All faults, in the order of the page."""


def fault_button(name: str) -> FaultButton | None:
    """Return a fault by name."""
    return next((button for button in FAULT_BUTTONS if button.name == name), None)
