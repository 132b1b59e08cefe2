"""The texts of the playground's page, in Chinese and English."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

PageLanguage = Literal["zh", "en"]


class Label(NamedTuple):
    """One text of the page."""

    zh: str
    en: str

    def text(self, language: PageLanguage) -> str:
        """Return the text in a language."""
        return self.zh if language == "zh" else self.en


LABELS: Final = {
    "title": Label("企业微信机器人体验台", "WeCom bot playground"),
    "skip": Label("跳到输入框", "Skip to the message field"),
    "chats": Label("会话", "Chats"),
    "write_as": Label("当前成员", "You are"),
    "bot_badge": Label("机器人", "BOT"),
    "single_chat": Label("单聊", "single chat"),
    "members": Label("{count} 人 + 机器人", "{count} people and the bot"),
    "other_language": Label("English", "中文"),
    "connected": Label("已连接", "Connected"),
    "disconnected": Label("连接已断开，正在重连…", "Connection lost, reconnecting…"),
    "the_bot": Label("关于机器人", "About the bot"),
    "messages": Label("消息", "Messages"),
    "empty_single": Label("与 {bot} 打个招呼吧", "Say hello to {bot}"),
    "empty_group": Label("在群里 @{bot} 试试", "Mention @{bot} in the group"),
    "empty_hint": Label(
        "消息会像真的企业微信一样加密发送给机器人，回答会边写边显示。点消息旁的“详情”查看实际收发的内容。",
        "Messages are encrypted and sent to the bot as WeCom does it, and you can watch the answer grow. “Details” "
        "beside a message shows what really travelled.",
    ),
    "suggest_hello": Label("你好，你能做什么？", "Hello! What can you do?"),
    "suggest_markdown": Label("展示一下 markdown 效果", "Show me some markdown"),
    "suggest_picture": Label("看看这张图片", "Have a look at this picture"),
    "enter_chat": Label("进入会话（触发欢迎语）", "Enter the chat (welcome message)"),
    "message": Label("消息内容", "Message"),
    "placeholder_single": Label(
        "输入消息，Enter 发送，Shift+Enter 换行", "Write a message. Enter sends, Shift+Enter: new line"
    ),
    "placeholder_group": Label("已自动 @{bot}，Enter 发送", "@{bot} is mentioned for you. Enter sends"),
    "send": Label("发送", "Send"),
    "picture": Label("图片", "Picture"),
    "file": Label("文件", "File"),
    "sample": Label("示例图片", "Sample picture"),
    "voice": Label("语音", "Voice"),
    "voice_hint": Label("作为语音发送：机器人收到识别出的文字", "Send as voice: the bot gets the transcript"),
    "remove": Label("移除", "Remove"),
    "quoting": Label("引用", "Quoting"),
    "mode": Label("回答方式", "Answers"),
    "mode_stream": Label("流式", "Streamed"),
    "mode_reply": Label("一次性回复", "One reply"),
    "faults": Label("下一条消息的故障", "Fault for the next message"),
    "fault_none": Label("无", "None"),
    "fault_busy": Label("系统繁忙 −1", "Busy −1"),
    "fault_rate": Label("限频 45009", "Rate limit 45009"),
    "fault_code": Label("凭证失效 60140", "Used up 60140"),
    "fault_status": Label("HTTP 503", "HTTP 503"),
    "fault_reset": Label("连接重置", "Reset"),
    "fault_slow": Label("响应缓慢", "Slow"),
    "fault_expired": Label("媒体已过期", "Media expired"),
    "fault_refresh": Label("刷新丢失", "Lost refresh"),
    "fault_busy_hint": Label(
        "第一次回复得到 errcode -1；机器人应当重试", "The first reply gets errcode -1; the bot should try again"
    ),
    "fault_rate_hint": Label(
        "回复得到 errcode 45009；立即重试没有意义", "The reply gets errcode 45009; an immediate retry is pointless"
    ),
    "fault_code_hint": Label(
        "response_url 已失效，无法再回复", "The response_url is no longer valid: no answer can arrive"
    ),
    "fault_status_hint": Label(
        "第一次回复得到 HTTP 503；机器人应当重试", "The first reply gets HTTP 503; the bot should try again"
    ),
    "fault_reset_hint": Label(
        "回复已送达，但连接被重置；机器人不得重发",
        "The reply arrives, but the connection is reset; the bot must not repeat it",
    ),
    "fault_slow_hint": Label("企业微信 4 秒后才回应回复", "WeCom answers the reply after 4 seconds"),
    "fault_expired_hint": Label("图片或文件的下载地址已过期", "The URL of the picture or file has expired"),
    "fault_refresh_hint": Label(
        "前三次刷新的应答丢失；答案不应缺失",
        "The answers to the first three refreshes are lost; the text must still be complete",
    ),
    "armed": Label("故障：{fault}", "fault: {fault}"),
    "details": Label("详情", "Details"),
    "quote": Label("引用", "Quote"),
    "again": Label("重复推送", "Send again"),
    "rate_good": Label("有帮助", "Helpful"),
    "rate_bad": Label("没帮助", "Not helpful"),
    "rate_withdraw": Label("撤回评价", "Withdraw the rating"),
    "writing": Label("正在回答…", "is answering…"),
    "answered": Label("{name} 已回答：{text}", "{name} answered: {text}"),
    "sending": Label("发送中", "sending"),
    "delivered": Label("已确认", "acknowledged"),
    "refused": Label("机器人返回 {status}", "the bot answered {status}"),
    "unreachable": Label("机器人没有响应", "the bot does not answer"),
    "copies": Label("推送了 {count} 次", "sent {count} times"),
    "no_answer": Label("回复失败，见详情", "The reply failed: see the details"),
    "transcript": Label("语音转文字", "voice transcript"),
    "picture_alt": Label("{name} 发送的图片", "picture from {name}"),
    "thinking": Label("思考过程", "Thought process"),
    "close": Label("关闭", "Close"),
    "travelled": Label("实际收发", "What really travelled"),
    "travelled_empty": Label(
        "点消息旁的“详情”：回调的密文与明文、签名、应答、刷新、回复的每次尝试，以及违反的规则。",
        "Choose “Details” beside a message: its callback sealed and opened, the signature, the acknowledgement, the "
        "refreshes, every attempt to reply, and the rules that were broken.",
    ),
    "show_secrets": Label("显示密钥与地址", "Show secrets"),
    "hide_secrets": Label("隐藏密钥与地址", "Hide secrets"),
    "hidden": Label("（已隐藏）", "(hidden)"),
    "callback": Label("回调", "Callback"),
    "callback_again": Label("重复的回调", "Callback, sent again"),
    "event": Label("事件", "Event"),
    "signature": Label("签名参数", "Signature"),
    "sealed": Label("密文", "sealed"),
    "opened": Label("明文", "opened"),
    "acknowledgement": Label("应答", "Acknowledgement"),
    "nothing": Label("（空）", "(nothing)"),
    "refreshes": Label("流式刷新", "Refreshes of the stream"),
    "refresh_column": Label("次序", "No."),
    "status_column": Label("状态", "Status"),
    "time_column": Label("耗时", "Time"),
    "text_column": Label("文本", "Text"),
    "finished": Label("结束", "finished"),
    "lost": Label("丢失", "lost"),
    "bytes": Label("{count} 字节", "{count} bytes"),
    "last_refresh": Label("最后一次刷新", "Last refresh"),
    "replies": Label("回复 (response_url)", "Replies (response_url)"),
    "attempt": Label("第 {count} 次尝试", "Attempt {count}"),
    "after": Label("{seconds} 秒后", "after {seconds} s"),
    "no_status": Label("没有应答", "no answer"),
    "fault_played": Label("故障 {name}", "fault {name}"),
    "no_replies": Label("目前没有使用 response_url。", "The response_url has not been used so far."),
    "reply_waits": Label("回复已被接受，企业微信还没有应答。", "A reply was accepted; WeCom has not answered it yet."),
    "window": Label("回复窗口", "Reply window"),
    "window_none": Label("事件没有回复窗口。", "An event has no reply window."),
    "window_open": Label("有效至 {until}（一小时，仅可使用一次）", "open until {until} (one hour, for one use)"),
    "window_spent": Label("{seconds} 秒后已使用", "spent after {seconds} s"),
    "window_invalid": Label("企业微信称已失效 (errcode {code})", "no longer valid, says WeCom (errcode {code})"),
    "window_expired": Label("已于 {until} 过期", "expired at {until}"),
    "downloads": Label("媒体下载", "Media downloads"),
    "downloads_count": Label("{count} 次", "{count}"),
    "offences": Label("违反的规则", "Offences"),
    "no_offences": Label("没有违反任何规则。", "No rule was broken."),
    "url": Label("回调 URL", "Callback URL"),
    "url_check": Label("URL 校验", "URL check"),
    "url_check_passed": Label("通过，{milliseconds} 毫秒", "passed in {milliseconds} ms"),
    "url_check_failed": Label("未通过：{reason}", "failed: {reason}"),
    "check_again": Label("重新校验", "Check again"),
    "token": Label("Token", "Token"),
    "key": Label("EncodingAESKey", "EncodingAESKey"),
    "own_secrets": Label("使用你提供的密钥，页面不显示。", "Your own secrets, which the page does not show."),
    "problem_unsent": Label("没有发送：{reason}", "Not sent: {reason}"),
    "problem_empty": Label("消息是空的", "the message is empty"),
    "problem_large": Label("文件超过 10 MB", "the file is larger than 10 MB"),
    "problem_picture": Label("这不是 PNG、JPEG、GIF 或 WebP 图片", "this is no PNG, JPEG, GIF or WebP picture"),
    "problem_group": Label("群聊只支持文字和图片", "a group takes text and pictures only"),
    "problem_slow": Label(
        "体验台 10 秒内没有响应：请关闭它的其他标签页，再试一次",
        "the playground did not answer within 10 seconds: close its other tabs, and try again",
    ),
    "problem_network": Label("体验台没有响应", "the playground does not answer"),
    "noscript": Label("此页面需要 JavaScript。", "This page needs JavaScript."),
}
"""The texts by name. Words in braces are filled in."""


class Labels:
    """The texts of the page in one language."""

    def __init__(self, language: PageLanguage) -> None:
        self.language = language

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a text with its braces filled in. Without values they stay."""
        text = LABELS[name].text(self.language)
        return text.format(**values) if values else text

    def of(self, label: Label) -> str:
        """Return a text that is not in the catalogue, such as a name."""
        return label.text(self.language)
