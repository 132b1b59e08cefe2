"""What is wrong with the URL of an agent, as far as the URL itself shows. No I/O."""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

API_PATHS: Final = {"responses": "/responses", "chat-completions": "/chat/completions"}
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


def api_of(url: str) -> str:
    """Return the type of agent whose URLs usually end like this one, empty if it looks like none."""
    path = re.split("[?#]", url, maxsplit=1)[0].rstrip("/")
    return next((kind for kind, end in API_PATHS.items() if path.endswith(end)), "")


def path_problem(url: str, kind: str) -> str | None:
    """Return what is wrong with the path of a URL for one type of agent, as `url_problem` does."""
    if api := api_of(url):
        other = f'is the URL of another API: set agent.type to "{api}", or use that of {API_PATHS[kind]}'
        return None if api == kind else other
    path = URL(url).path.rstrip("/")
    if path.endswith("/completions"):
        return f"is the URL of an older API without chats; enter the one that ends with {API_PATHS[kind]}"
    return f"is a base URL; append {API_PATHS[kind]}" if path.endswith("/v1") else None
