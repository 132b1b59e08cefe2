"""The resolver that removes forbidden addresses."""

from __future__ import annotations

import pytest

from maven_channel_wecom.egress.addresses import is_forbidden
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.reasons import ForbiddenAddress, NameUnresolved
from maven_channel_wecom.egress.resolver import FilteringResolver
from maven_channel_wecom.errors import RequestNotSent
from tests.fakes.connecting import Diversion
from tests.fakes.names import Names


async def test_only_allowed_addresses_are_returned() -> None:
    names = Names({"files.example": [["10.0.0.1", "93.184.216.34", "::1"]]})
    answers = await FilteringResolver(names, is_forbidden).resolve("files.example", 443)
    assert [answer["host"] for answer in answers] == ["93.184.216.34"]


async def test_no_addresses_and_forbidden_addresses_raise_different_errors() -> None:
    resolver = FilteringResolver(Names({"empty.example": [[]], "private.example": [["10.0.0.1"]]}), is_forbidden)
    for name in ("unknown.example", "empty.example"):
        with pytest.raises(NameUnresolved):
            await resolver.resolve(name)
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("private.example")


async def test_closing_also_closes_the_wrapped_resolver() -> None:
    names = Names({})
    await FilteringResolver(names, is_forbidden).close()
    assert names.closed


async def test_an_egress_does_not_close_the_resolver_it_was_given() -> None:
    names = Names({"files.example": [["93.184.216.34"]]})
    egress = Egress(resolver=names, socket_factory=Diversion())
    with pytest.raises(RequestNotSent):
        await egress.post("http://files.example/", b"{}", timeout_seconds=5)
    await egress.close()
    assert not names.closed
