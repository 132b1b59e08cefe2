"""What is wrong with the URL of an agent, as far as the URL itself shows. No I/O."""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

_PATHS: Final = {"responses": "/responses", "chat-completions": "/chat/completions"}
"""How the URL of each type of agent usually ends."""


def url_problem(url: str) -> str | None:
    """Return what is wrong with a URL for any type of agent, to be appended to the name of its key, or None."""
    wrong = "must be a URL that starts with http:// or https://"
    try:
        parsed = URL(url)
        # yarl parses the host only here.
        host = parsed.host
    except (ValueError, IndexError):  # yarl raises IndexError on `[::1]@`
        return wrong
    if parsed.scheme not in {"http", "https"} or not host or re.search(r"\s", url):
        return wrong
    if parsed.user is not None or parsed.password is not None:
        return "must not hold a user name or password; put the key into agent.apiKey"
    return None


def path_problem(url: str, kind: str) -> str | None:
    """Return what is wrong with the path of a URL for one type of agent, as `url_problem` does."""
    path = URL(url).path.rstrip("/")
    for other, end in _PATHS.items():
        if other != kind and path.endswith(end):
            return f'is the URL of another API: set agent.type to "{other}", or use that of {_PATHS[kind]}'
    if path.endswith("/completions") and not path.endswith(_PATHS["chat-completions"]):
        return f"is the URL of an older API without chats; enter the one that ends with {_PATHS[kind]}"
    return f"is a base URL; append {_PATHS[kind]}" if path.endswith("/v1") else None
