"""Which URLs are used at all: plain ones, which nobody reads in another way."""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

# A backslash is a slash to some parsers, so a proxy might read another host than we did.
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")


def read_url(url: str) -> URL | None:
    """Read an http or https URL without changing a byte, as its signature covers them; None when it is not plain."""
    if not _PLAIN.fullmatch(url):
        return None
    try:
        target = URL(url, encoded=True)
        # yarl reads the parts only when they are asked for, and trips with an IndexError over `[::1]@`.
        named = target.raw_host and target.port and "@" not in target.raw_authority
    except (ValueError, IndexError):
        return None
    return target if named and target.scheme in {"http", "https"} else None
