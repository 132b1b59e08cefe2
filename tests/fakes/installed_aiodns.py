"""An installed aiodns, which aiohttp uses by default. It does not find every name that the system finds."""

from __future__ import annotations

import subprocess
import sys

_INSTALLED = """
import asyncio, sys, types

class DNSResolver:
    def __init__(self, *_, **__): sys.exit("aiodns was used")
    def getaddrinfo(self): ...

sys.modules["aiodns"] = aiodns = types.ModuleType("aiodns")
aiodns.DNSResolver = DNSResolver
"""


def run_with_aiodns(program: str) -> str:
    """Run a program, which may use `asyncio`, and return what it prints. CalledProcessError if it uses aiodns."""
    command = [sys.executable, "-c", _INSTALLED + program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own interpreter
