"""What the operator is told to enter in WeCom's console."""

from __future__ import annotations

from maven_channel_wecom.setup.console_steps import console_steps


def test_the_fields_are_named_in_both_languages_and_saving_comes_last() -> None:
    text = "\n".join(console_steps("https://b.example/wecom/bot", "T", "K", port=9886, start="maven-wecom gateway"))
    for name in ("智能机器人", "API模式创建", "使用URL回调", "可见范围", "Token:          T", "EncodingAESKey: K"):
        assert name in text
    assert text.index("https://b.example/wecom/bot") < text.index("maven-wecom gateway") < text.index("Save (保存)")


def test_without_a_url_a_placeholder_stands_in_its_place() -> None:
    text = "\n".join(console_steps("", "T", "K", port=9886, start=""))
    assert "https://YOUR-DOMAIN/wecom/bot" in text
    assert "The gateway starts now" in text
