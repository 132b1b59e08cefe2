"""Drives the system's Chromium."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

ANSWERED = ".entry.bot .bubble:not([aria-busy])"
"""Selects the bubbles of answers that are complete."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a browser.

    Raises:
        RuntimeError: there is no Chromium.
    """
    path = shutil.which("chromium")
    if path is None:
        message = "the tests of the page need chromium: apt-get install chromium"
        raise RuntimeError(message)
    async with async_playwright() as playwright:
        # It is started by root in containers, where its sandbox does not work. It loads our own page only.
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(page: Page, url: str) -> None:
    """Load the page, and wait until it is told of changes."""
    await page.goto(url)
    await page.wait_for_selector(".connection.live", state="attached")
