"""Which answers of a lookup are left, and who closes a resolver."""

from __future__ import annotations

import pytest

from maven_channel_wecom.egress.addresses import is_forbidden
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.reasons import ForbiddenAddress, NameUnresolved
from maven_channel_wecom.egress.resolver import FilteringResolver
from maven_channel_wecom.errors import RequestNotSent
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names


async def test_only_allowed_answers_are_left() -> None:
    names = Names({"files.example": [["10.0.0.1", "93.184.216.34", "::1"]]})
    answers = await FilteringResolver(names, is_forbidden).resolve("files.example", 443)
    assert [answer["host"] for answer in answers] == ["93.184.216.34"]


async def test_no_answers_and_forbidden_answers_are_told_apart() -> None:
    resolver = FilteringResolver(Names({"empty.example": [[]], "private.example": [["10.0.0.1"]]}), is_forbidden)
    for name in ("unknown.example", "empty.example"):
        with pytest.raises(NameUnresolved):
            await resolver.resolve(name)
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("private.example")


async def test_closing_closes_the_resolver_behind() -> None:
    names = Names({})
    await FilteringResolver(names, is_forbidden).close()
    assert names.closed


async def test_a_given_resolver_outlives_an_egress() -> None:
    names = Names({"files.example": [["93.184.216.34"]]})
    egress = Egress(resolver=names, socket_factory=Diversion())
    with pytest.raises(RequestNotSent):
        await egress.post("http://files.example/", b"{}", timeout_seconds=5)
    await egress.close()
    assert not names.closed
