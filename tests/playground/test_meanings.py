"""The meanings of offences and errcodes."""

from __future__ import annotations

from typing import get_args

from maven_channel_wecom.playground.meanings import CHINESE_ERRCODES, CHINESE_OFFENCES, errcode_meaning, offence_meaning
from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.simulator.offences import OffenceKind


def test_every_offence_and_errcode_has_a_meaning_in_both_languages() -> None:
    assert CHINESE_OFFENCES.keys() == set(get_args(OffenceKind))
    assert CHINESE_ERRCODES.keys() == errcodes.MEANINGS.keys()
    assert offence_meaning("empty", "zh") == "回复没有内容"
    assert offence_meaning("empty", "en") == "a reply has no content"
    assert errcode_meaning(-1, "zh") == "系统繁忙"
    assert errcode_meaning(-1, "en") == "system busy"


def test_an_unknown_errcode_has_none() -> None:
    assert errcode_meaning(4711, "en") == errcode_meaning(4711, "zh") == ""
