"""Every reason why a proxy could not be used has a sentence. `test_egress_proxies.py` tests how each is found."""

from __future__ import annotations

from typing import get_args

from maven_channel_wecom.transport import proxy_failures


def test_every_reason_why_a_proxy_could_not_be_used_has_a_sentence() -> None:
    assert set(proxy_failures.PROXY) == set(get_args(proxy_failures.ProxyFailure))
