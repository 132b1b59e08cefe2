"""What offences and errcodes mean, in the language of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.simulator.offences import OFFENCE_MEANINGS

if TYPE_CHECKING:
    from maven_channel_wecom.playground.labels import PageLanguage
    from maven_channel_wecom.simulator.offences import OffenceKind

CHINESE_OFFENCES: Final[dict[OffenceKind, str]] = {
    "url_check_refused": "URL 校验的应答状态不是 200",
    "url_check_wrong_body": "URL 校验的应答不是 echostr 的明文",
    "url_check_decorated": "URL 校验的应答多了引号、字节序标记或空白",
    "url_check_slow": "URL 校验没有在一秒内应答",
    "wrong_status": "真实回调的应答既不是 200 也不是 503，或畸形回调得到服务器错误",
    "slow_answer": "回调没有及时应答",
    "unsealed_answer": "回调的应答不是为它加密的信封",
    "unexpected_answer": "回调的应答不是企业微信文档所列的形式",
    "wrong_receive_id": "应答中的 receive id 与回调不一致",
    "unknown_code": "回复发往不存在的 response_url",
    "late": "回复晚于回调一小时以上",
    "second_use": "回复发往已使用过的 response_url",
    "unsafe_repeat": "回复已被永久拒绝或可能已送达，却再次发送",
    "wrong_method": "response_url 没有用 POST 请求",
    "wrong_content_type": "回复没有声明为 UTF-8 的 application/json",
    "malformed_body": "回复不是 UTF-8 的 JSON 对象，或缺少其类型所需的字段",
    "encrypted_body": "回复是信封而不是明文 JSON",
    "escaped_characters": "回复用了 unicode 转义而不是 UTF-8 字符",
    "wrong_message_type": "回复既不是 markdown 也不是模板卡片",
    "card_in_group": "模板卡片发到了群聊",
    "empty": "回复没有内容",
    "oversized": "回复或流式内容超过 20480 字节",
    "altered_media_url": "请求媒体时改动了 URL，签名因此失效",
    "wrong_stream_id": "流式应答的 id 与所请求的或首次应答的不一致",
    "blank_frame": "流式应答把可见文本变为空，或在没有可见文本时结束",
    "changed_after_finish": "流式应答与结束时的内容不同",
    "wrong_feedback_id": "流式应答的 feedback id 为空、超过 256 字节，或不在首次应答中",
    "unfinished_stream": "消息发出六分钟后企业微信停止刷新时，流仍未结束",
    "streamed_event": "事件得到了流式应答",
    "late_event_answer": "事件没有在五秒内应答",
}

CHINESE_ERRCODES: Final = {
    errcodes.OK: "成功",
    errcodes.SYSTEM_BUSY: "系统繁忙",
    errcodes.DATA_CONFLICT: "数据版本冲突",
    errcodes.INVALID_MESSAGE_TYPE: "不合法的消息类型",
    errcodes.INVALID_CHARACTERS: "含有不合法的字符",
    errcodes.EMPTY_CONTENT: "内容为空",
    errcodes.CONTENT_TOO_LONG: "内容过长",
    errcodes.RATE_LIMIT: "超过接口频率限制",
    errcodes.CONCURRENCY_LIMIT: "超过并发限制",
    errcodes.RESPONSE_CODE_INVALID: "response_url 无效、已使用或已过期",
}


def offence_meaning(kind: OffenceKind, language: PageLanguage) -> str:
    """Return the rule that was broken."""
    return (CHINESE_OFFENCES if language == "zh" else OFFENCE_MEANINGS)[kind]


def errcode_meaning(code: int, language: PageLanguage) -> str:
    """Return what an errcode means, empty for an unknown one."""
    return (CHINESE_ERRCODES if language == "zh" else errcodes.MEANINGS).get(code, "")
