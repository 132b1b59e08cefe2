"""What to enter in WeCom's console, and in which order.

The URL check on saving is documented (101033). The names of menus and fields are those of the console in 2026, as
guides of other projects show them; its pages are in Chinese, the English words beside them are translations.
"""

from __future__ import annotations


def console_steps(url: str, token: str, encoding_aes_key: str, *, port: int, start: str) -> list[str]:
    """Return the steps as lines.

    Args:
        url: the callback URL; empty if it is not known yet.
        token: what to show as token.
        encoding_aes_key: what to show as key.
        port: the port on which the gateway listens for callbacks.
        start: how to start the gateway; empty if it is started now.
    """
    before = f"Start the gateway: {start}" if start else "The gateway starts now, below."
    return [
        "In WeCom's admin console (企业微信管理后台), https://work.weixin.qq.com, as an administrator:",
        "  1. Security and management (安全与管理) → Management tools (管理工具) → AI bots (智能机器人) →",
        "     Create a bot (创建机器人) → Create manually (手动创建) → at the bottom: In API mode (API模式创建).",
        "  2. Give it a name (名称), and choose who may use it (可见范围).",
        "  3. Connection (连接方式): URL callback (使用URL回调), not the long connection (长连接). Then enter:",
        f"       URL:            {url or 'https://YOUR-DOMAIN/wecom/bot'}",
        f"       Token:          {token}",
        f"       EncodingAESKey: {encoding_aes_key}",
        "     If you keep the values that the console offers (随机获取), write those into secrets.env instead.",
        "     Do not save yet: saving checks the URL at once.",
        f"  4. {before}",
        f"     Your reverse proxy must pass that URL on to port {port} of this machine, and answers back unchanged.",
        "  5. Save (保存). Then write to the bot, or add it to a group: Add members (添加成员) → AI bots (智能机器人).",
    ]
