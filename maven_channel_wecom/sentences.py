"""Every text of this package that a person in a chat can read, in Chinese and English.

Log lines, errors and the operator's other texts are English and stay where they are used. The lines of the echo agent
are its notation for what arrived, in no language.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Self

Language = Literal["zh", "en"]


class Sentence(NamedTuple):
    """A text in both languages. It may be several sentences, and may hold a name in braces, for `str.format`."""

    zh: str
    en: str

    @classmethod
    def of(cls, value: str | Mapping[str, str]) -> Self:
        """Return the sentence for a configured value: one text for both languages, or a text for each."""
        return cls(value, value) if isinstance(value, str) else cls(value["zh"], value["en"])

    def text(self, language: str) -> str:
        """Return the text in a language; in English for any word but `zh`."""
        return self.zh if language == "zh" else self.en


ANSWER_CUT: Final = Sentence(
    zh="\n\n> …内容过长，以下已截断。",
    en="\n\n> …The answer was too long and ends here.",
)
ANSWER_CONTINUED: Final = Sentence(
    zh="\n\n> …未完，见下一条。",
    en="\n\n> …Continued in the next message.",
)

PROGRESS: Final = Sentence(
    zh="正在思考，请稍候…",
    en="Working on it…",
)
"""What is shown at once if the operator configured no other text."""

STREAM_CONTINUES: Final = Sentence(
    zh="还需要一些时间，回答完成后会另发一条消息。",
    en="This takes longer; the answer comes as a message of its own once it is there.",
)
STREAM_ENDED: Final = Sentence(
    zh="这条回复到此为止；如有后续内容，会另发一条消息。",
    en="This reply ends here; anything that follows comes as a message of its own.",
)
STREAM_SILENT: Final = Sentence(
    zh="（这条消息无需回答。）",
    en="(There is nothing to answer.)",
)

MESSAGE_EMPTY: Final = Sentence(
    zh="这条消息没有可读的内容，请用文字再发一次。",
    en="This message holds nothing that can be read; please send it again as text.",
)
VOICE_EMPTY: Final = Sentence(
    zh="没有听清这条语音，请再说一次，或改用文字。",
    en="Nothing could be understood in this voice message; please say it again, or write it.",
)
MESSAGE_TYPE_UNKNOWN: Final = Sentence(
    zh="暂不支持这种类型的消息，请改用文字。",
    en="Messages of this type are not supported yet; please write it as text.",
)
ANSWER_EMPTY: Final = Sentence(
    zh="智能体没有给出回答，请换个说法再试。",
    en="The agent gave no answer; please try again in other words.",
)

ANSWER_BROKEN_OFF: Final = Sentence(
    zh="\n\n（回答到此中断。{reason}）",
    en="\n\n(The answer breaks off here. {reason})",
)
"""What follows the part of an answer that arrived. `reason` is one of the sentences below."""

FAULT: Final = Sentence(
    zh="处理这条消息时出错了，请告知本机器人的管理员。",
    en="Something went wrong with this message; please tell the operator of this bot.",
)
CONVERSATION_NEW: Final = Sentence(
    zh="已开始新话题，之前的内容不再作为上下文。",
    en="A new conversation begins; what was said before no longer counts.",
)
CONVERSATION_TOO_LONG: Final = Sentence(
    zh="对话太长，智能体无法继续。请发送 /new 开始新话题，或把这条消息写短一些。",
    en="This conversation is too long for the agent; please send /new to begin a new one, or a shorter message.",
)
AGENT_UNREACHABLE: Final = Sentence(
    zh="暂时无法连接智能体，请稍后再试。",
    en="The agent cannot be reached right now; please try again later.",
)
AGENT_UNRESPONSIVE: Final = Sentence(
    zh="智能体暂时没有响应，请稍后再试。",
    en="The agent does not respond to connections right now; please try again later.",
)
AGENT_NOT_RUNNING: Final = Sentence(
    zh="智能体当前没有运行，请稍后再试。",
    en="The agent is not running right now; please try again later.",
)
AGENT_HOST_UNKNOWN: Final = Sentence(
    zh="暂时无法解析智能体的主机名，请告知本机器人的管理员。",
    en="The name of the agent's host is unknown right now; please tell the operator of this bot.",
)
AGENT_INSECURE: Final = Sentence(
    zh="与智能体的连接不安全，请告知本机器人的管理员。",
    en="The connection to the agent is not secure; please tell the operator of this bot.",
)
AGENT_TOO_SLOW: Final = Sentence(
    zh="智能体回答超时，请稍后再试。",
    en="The agent took too long to answer; please try again later.",
)
AGENT_CONNECTION_LOST: Final = Sentence(
    zh="与智能体的连接已中断，请稍后再试。",
    en="The connection to the agent was lost; please try again later.",
)
AGENT_FAILED: Final = Sentence(
    zh="智能体未能回答这条消息，请稍后再试。",
    en="The agent failed to answer this message; please try again later.",
)
AGENT_STOPPED_EARLY: Final = Sentence(
    zh="智能体在回答完成之前停止了。",
    en="The agent stopped before its answer was complete.",
)
AGENT_KEY_REJECTED: Final = Sentence(
    zh="智能体不接受本机器人的密钥，请告知本机器人的管理员。",
    en="The agent does not accept this bot's key; please tell the operator of this bot.",
)
AGENT_NOT_FOUND: Final = Sentence(
    zh="在本机器人使用的地址上找不到智能体，请告知本机器人的管理员。",
    en="The agent was not found at the address this bot uses; please tell the operator of this bot.",
)
AGENT_FORMAT_WRONG: Final = Sentence(
    zh="智能体的接口格式与本机器人的设置不符，请告知本机器人的管理员。",
    en="The agent speaks another API than this bot is set up for; please tell the operator of this bot.",
)
AGENT_BUSY: Final = Sentence(
    zh="智能体正忙，请稍后再试。",
    en="The agent is busy; please try again in a moment.",
)
ANSWER_TOO_LARGE: Final = Sentence(
    zh="智能体的回答过长，无法发送。",
    en="The agent's answer is too long to send.",
)
MESSAGE_NOT_PROCESSED: Final = Sentence(
    zh="智能体无法处理这条消息。",
    en="The agent could not process this message.",
)
MESSAGE_TOO_LARGE: Final = Sentence(
    zh="这条消息过大，智能体无法处理。",
    en="This message is too large for the agent.",
)
PICTURE_NOT_PROCESSED: Final = Sentence(
    zh="无论带不带图片，智能体都无法处理这条消息。",
    en="The agent could not process this message, neither with the picture nor without it.",
)
FILE_NOT_PROCESSED: Final = Sentence(
    zh="无论带不带文件，智能体都无法处理这条消息。",
    en="The agent could not process this message, neither with the file nor without it.",
)
PICTURE_LEFT_OUT: Final = Sentence(
    zh="\n\n（智能体无法读取图片，以上回答没有参考图片。）",
    en="\n\n(The agent cannot read pictures; this answer is without the picture.)",
)
FILE_LEFT_OUT: Final = Sentence(
    zh="\n\n（智能体无法读取文件，以上回答没有参考文件。）",
    en="\n\n(The agent cannot read files; this answer is without the file.)",
)
EARLIER_PICTURE_LEFT_OUT: Final = Sentence(
    zh="\n\n（智能体未能读取之前的图片，以上回答没有参考这些图片。）",
    en="\n\n(The agent could not read the earlier pictures; this answer is without them.)",
)
EARLIER_FILE_LEFT_OUT: Final = Sentence(
    zh="\n\n（智能体未能读取之前的文件，以上回答没有参考这些文件。）",
    en="\n\n(The agent could not read the earlier files; this answer is without them.)",
)
