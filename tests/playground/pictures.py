"""Takes the pictures of the playground in the documents, with a real gateway and a real browser.

python -m tests.playground.pictures --into docs
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.playground.run import Playground, PlaygroundOptions
from tests.playground.browser import ANSWERED, chromium, open_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import Browser, Page, ViewportSize

_TEXTS = {
    "en": ("Is this good enough for the cover?", "Show me some markdown", "Close"),
    "zh": ("这张图适合做封面吗？", "展示一下 markdown 效果", "关闭"),
}
_DESKTOP: ViewportSize = {"width": 1440, "height": 960}
_PHONE: ViewportSize = {"width": 390, "height": 844}


async def take_pictures(into: Path, report: Callable[[str], object]) -> None:
    """Write one picture for each language, and one of a phone."""
    async with chromium() as browser:
        for language, name in (("en", "playground.png"), ("zh", "playground-zh.png")):
            async with Playground(PlaygroundOptions(refresh_seconds=0.5)) as playground:
                await _write_as_li_na(browser, playground.url, language)
                page = await browser.new_page(viewport=_DESKTOP)
                await open_page(page, _group(playground.url, "zhangwei", language))
                await _ask_about_markdown(page, language)
                await page.locator(".entry.other .details").first.click()
                await page.locator("#record section").first.wait_for()
                await _take(page, into / name, report)
                if language == "zh":
                    phone = await browser.new_page(
                        viewport=_PHONE, device_scale_factor=2, has_touch=True, is_mobile=True
                    )
                    await open_page(phone, _group(playground.url, "lina", language))
                    await _take(phone, into / "playground-phone.png", report)


def _group(url: str, user: str, language: str) -> str:
    return f"{url}/?as={user}&lang={language}&chat=group:wrProductTeam"


async def _write_as_li_na(browser: Browser, url: str, language: str) -> None:
    page = await browser.new_page()
    await open_page(page, _group(url, "lina", language))
    await page.locator('[data-action="sample"]').click()
    await page.locator("#text").fill(_TEXTS[language][0])
    await page.keyboard.press("Enter")
    await page.wait_for_selector(ANSWERED)
    await page.close()


async def _ask_about_markdown(page: Page, language: str) -> None:
    """Ask for a long answer, and return while it grows."""
    await page.locator("#text").fill(_TEXTS[language][1])
    await page.keyboard.press("Enter")
    await page.locator(".entry.bot .bubble[aria-busy] ul ul").wait_for()


async def _take(page: Page, picture: Path, report: Callable[[str], object]) -> None:
    await page.mouse.move(720, 20)
    await page.evaluate("document.activeElement.blur(); document.getElementById('messages').scrollTop = 1e6")
    await page.screenshot(path=picture)
    report(f"{picture}: {picture.stat().st_size // 1024} KiB")


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    asyncio.run(take_pictures(arguments.into, lambda line: sys.stdout.write(line + "\n")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
