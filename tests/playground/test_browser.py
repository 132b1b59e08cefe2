"""The page in a real browser, with a real gateway behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from maven_channel_wecom.playground.run import Playground, PlaygroundOptions
from maven_channel_wecom.playground.sample_picture import sample_picture
from tests.playground.browser import ANSWERED, chromium, open_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

# One gateway and one browser for all tests of this file.
pytestmark = pytest.mark.asyncio(loop_scope="module")
fixture = pytest_asyncio.fixture


@fixture(scope="module", loop_scope="module")
async def playground() -> AsyncIterator[Playground]:
    async with Playground(PlaygroundOptions(writing_seconds=0.01, refresh_seconds=0.1)) as started:
        yield started


@fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    opened = await browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    await opened.close()
    assert complaints == []


async def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with the page for people who do not see it or use no mouse."""
    found = await Axe().run(page)
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


async def test_a_newcomer_gets_a_streamed_answer_about_a_picture_in_a_group(playground: Playground, page: Page) -> None:
    await open_page(page, f"{playground.url}/?as=lina&lang=zh")
    await page.get_by_role("link", name="产品讨论组").click()
    await page.wait_for_selector(".connection.live")
    assert await page.locator("#empty").is_visible()
    await page.set_input_files("#picture", {"name": "山.png", "mimeType": "image/png", "buffer": sample_picture()})
    assert await page.locator("#attached span").inner_text() == "山.png"
    await page.get_by_label("消息内容").fill("看看这张图片")
    await page.get_by_role("button", name="发送").click()
    await page.wait_for_selector('.entry.bot .bubble[aria-busy="true"] .markdown')
    await page.wait_for_selector(ANSWERED)
    answer = page.locator(".entry.bot .markdown")
    assert "320 × 200" in await answer.inner_text()
    assert await answer.locator("strong").count() == 1
    assert await page.locator(".entry.own img").evaluate("each => each.naturalWidth") == 320
    assert "已回答" in await page.locator("#announcer").inner_text()
    await page.locator(".entry.own .details").click()
    await page.get_by_role("heading", name="流式刷新").wait_for()
    record = await page.locator("#record").inner_text()
    assert all(
        word in record for word in ("msg_signature", '"chatid": "wrProductTeam"', "HTTP 200", "没有违反任何规则")
    )
    assert "response_code" not in record
    await page.get_by_role("button", name="显示密钥与地址").click()
    await page.get_by_text("response_code=").wait_for()
    assert await violations(page) == []


async def test_a_fault_is_played_once_and_the_attempts_are_shown(playground: Playground, page: Page) -> None:
    await open_page(page, f"{playground.url}/?as=zhangwei&lang=en")
    await page.locator(".trouble summary").click()
    await page.get_by_label("Busy −1").check()
    assert await page.locator("#armed").inner_text() == "Busy −1"
    await page.get_by_role("textbox").fill("what now?")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(ANSWERED)
    assert await page.locator(".entry.own .chip").inner_text() == "fault: Busy −1"
    assert await page.get_by_label("None").is_checked()
    end = "m => m.scrollHeight - m.scrollTop - m.clientHeight"
    assert await page.locator("#messages").evaluate(end) < 2, "the end of the chat stays in view"
    await page.get_by_label("Used up 60140").check()
    await page.get_by_role("textbox").fill("and now?")
    await page.keyboard.press("Enter")
    await page.get_by_text("The reply failed: see the details").wait_for()
    await page.locator(".entry.own .details").first.click()
    await page.get_by_text("Attempt 2").wait_for()
    record = await page.locator("#record").inner_text()
    assert record.index("errcode -1") < record.index("Attempt 2") < record.index("errcode 0")
    assert await violations(page) == []


async def test_everything_can_be_done_with_the_keyboard(playground: Playground, page: Page) -> None:
    await open_page(page, f"{playground.url}/?as=wangfang&lang=en")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "text"
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(ANSWERED)
    assert await page.locator(".entry.own .text").inner_text() == "one\ntwo"
    details = page.locator(".entry.own .details")
    await details.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#record section")
    assert await page.evaluate("document.activeElement.id") == "travelled-title"
    assert await details.get_attribute("aria-expanded") == "true"
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.dataset.action") == "details"
    rate = page.get_by_role("button", name="Helpful", exact=True)
    await rate.focus()
    await page.keyboard.press("Space")
    await page.get_by_role("button", name="Withdraw the rating").wait_for()
    await page.get_by_role("button", name="Send again").press("Enter")
    await page.get_by_text("sent 2 times").wait_for()


async def test_both_languages_are_a_click_apart_and_the_bot_is_described(playground: Playground, page: Page) -> None:
    await open_page(page, f"{playground.url}/?lang=en&chat=group:wrWeekendHike")
    assert await violations(page) == []
    assert await page.get_by_role("heading", level=1).inner_text() == "Weekend hike"
    await page.get_by_role("link", name="中文").click()
    await page.wait_for_selector(".connection.live")
    assert await page.get_by_role("heading", level=1).inner_text() == "周末爬山"
    assert await page.locator("html").get_attribute("lang") == "zh-CN"
    await page.get_by_role("button", name="关于机器人").click()
    await page.get_by_text("通过，").wait_for()
    assert await violations(page) == []


async def test_on_a_phone_nothing_overflows_and_the_panel_covers_the_chat(
    playground: Playground, browser: Browser
) -> None:
    phone = await browser.new_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    await open_page(phone, f"{playground.url}/?as=lina&lang=en&chat=group:wrWeekendHike")
    await phone.get_by_role("button", name="Show me some markdown").tap()
    await phone.wait_for_selector(ANSWERED)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await phone.evaluate(overflow) == 0
    assert await phone.evaluate("innerWidth") == 360
    wide = "[...document.querySelectorAll('.bubble')].filter(each => each.scrollWidth > each.clientWidth).length"
    assert await phone.evaluate(wide) == 0
    tops = "each => new Set([...each.children].map(button => button.getBoundingClientRect().top)).size"
    for actions in await phone.locator(".actions").all():
        assert await actions.evaluate(tops) == 1
    assert await violations(phone) == []
    await phone.locator(".entry.bot .details").tap()
    await phone.wait_for_selector("#record section")
    assert await phone.locator("#travelled").bounding_box() == {"x": 0, "y": 0, "width": 360, "height": 740}
    assert await violations(phone) == []
    await phone.get_by_role("button", name="Close").tap()
    assert not await phone.locator("#travelled").is_visible()
    await phone.close()


async def test_the_messages_of_one_person_appear_at_another(
    playground: Playground, browser: Browser, page: Page
) -> None:
    await open_page(page, f"{playground.url}/?as=lina&lang=zh&chat=group:wrProductTeam")
    other = await browser.new_page()
    await open_page(other, f"{playground.url}/?as=zhangwei&lang=en&chat=group:wrProductTeam")
    before = await page.locator(".entry").count()
    await page.get_by_role("textbox").fill("大家好 <img src=x onerror=alert(1)>")
    await page.keyboard.press("Enter")
    mine = other.locator(".entry.other", has_text="大家好").first
    await mine.wait_for()
    assert "Li Na" in await mine.inner_text()
    assert "<img src=x" in await mine.inner_text()
    await expect(other.locator(".entry")).to_have_count(before + 2)
    await expect(other.locator("[aria-busy]")).to_have_count(0)
    await other.close()


async def see(page: Page, *, hidden: bool) -> None:
    """Tell a page that its tab is hidden or shown, which a browser without windows never does by itself."""
    await page.evaluate(
        "is => { Object.defineProperty(document, 'hidden', { value: is, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


async def test_many_tabs_work_because_hidden_ones_hold_no_connection(playground: Playground, browser: Browser) -> None:
    context = await browser.new_context()
    tabs: list[Page] = []
    for _ in range(8):
        tab = await context.new_page()
        await open_page(tab, f"{playground.url}/?as=lina&lang=en")
        await see(tab, hidden=True)
        tabs.append(tab)
    first = tabs[0]
    before = await first.locator(".entry").count()
    await see(tabs[1], hidden=False)
    await tabs[1].get_by_role("textbox").fill("from the second tab")
    await tabs[1].keyboard.press("Enter")
    await expect(tabs[1].locator(".entry")).to_have_count(before + 2)
    await expect(tabs[1].locator("[aria-busy]")).to_have_count(0)
    assert await first.locator(".entry").count() == before
    await see(first, hidden=False)
    await expect(first.locator(".entry", has_text="from the second tab").first).to_be_visible()
    await expect(first.locator(".entry")).to_have_count(before + 2)
    await context.close()


async def test_a_request_without_an_answer_ends_with_a_sentence_and_keeps_the_text(
    playground: Playground, browser: Browser
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await open_page(page, f"{playground.url}/?as=lina&lang=en")
    # Six connections, which is all that a browser opens.
    for _ in range(5):
        other = await context.new_page()
        await open_page(other, f"{playground.url}/?as=lina&lang=en")
    await page.get_by_role("textbox").fill("hello")
    await page.keyboard.press("Enter")
    await expect(page.locator("#problem")).to_contain_text("did not answer within 10 seconds", timeout=30_000)
    assert await page.get_by_role("textbox").input_value() == "hello"
    await context.close()
