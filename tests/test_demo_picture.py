"""The picture of the demo in README.md."""

from __future__ import annotations

import demo_picture
from maven_channel_wecom.simulator.demo import run_demo


async def test_the_picture_shows_what_the_demo_prints() -> None:
    lines: list[str] = []
    assert await run_demo(lines.append) == 0
    committed = demo_picture.PICTURE.read_text(encoding="utf-8")
    assert demo_picture.texts(committed) == demo_picture.texts(demo_picture.draw(lines)), "run `make demo-picture`"
