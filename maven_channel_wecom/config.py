"""The configuration of one channel: the keys of its entry under `channels`, and the settings read from them.

Numbers here are our choices; those that WeCom has fixed are in `protocol.limits`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.policy.admission import AdmissionRules
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES
from maven_channel_wecom.policy.stream import ProgressMode
from maven_channel_wecom.policy.visibility import is_visible
from maven_channel_wecom.protocol import cipher, limits
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.sentences import PROGRESS, Language, Sentence
from maven_channel_wecom.settings import ENABLED, MAX_PORT, Key, Settings, copying_problem, object_schema
from maven_channel_wecom.state.backends import MEMORY, address_problem, sqlite_path
from maven_channel_wecom.transport.proxy import proxy_problem

TYPE: Final = "wecom"

Overflow = Literal["truncate", "continue"]

_EVERY_INTERFACE: Final = "0.0.0.0"  # noqa: S104 - WeCom's requests come from the internet, usually through a proxy on another machine


def _host_problem(host: str) -> str | None:
    if problem := copying_problem(host):
        return problem
    if host.startswith("[") and host.endswith("]"):
        return 'must be an address without brackets, such as "::1"; "::" is every address, of IPv6 and IPv4'
    if "/" in host:
        return 'must be an address without http:// and path, such as "127.0.0.1"'
    if host.count(":") == 1:
        return "must be an address without a port, which belongs in the key port"
    return None


def _ids_problem(ids: Sequence[str]) -> str | None:
    return next((f"has an id that {problem}" for each in ids if (problem := copying_problem(each))), None)


def _reply_text_problem(value: str | Mapping[str, str]) -> str | None:
    return _sentence_problem(value, limits.MARKDOWN_BYTES)


def _progress_text_problem(value: str | Mapping[str, str]) -> str | None:
    return None if value == "" else _reply_text_problem(value)


def _welcome_problem(value: str | Mapping[str, str]) -> str | None:
    return _sentence_problem(value, limits.WELCOME_BYTES)


def _sentence_problem(value: str | Mapping[str, str], limit_bytes: int) -> str | None:
    for text in Sentence.of(value):
        if not is_visible(text):
            return "must hold something to read in each language"
        try:
            size_bytes = len(text.encode())
        except UnicodeEncodeError:
            return "must be text that can be encoded, and holds half a character (a lone surrogate)"
        if size_bytes > limit_bytes:
            return f"must be at most {limit_bytes} bytes of UTF-8 in each language"
    return None


def _path_problem(path: str) -> str | None:
    if not path.startswith("/") or not path.isprintable() or any(sign in path for sign in "{}?#% "):
        return 'must be a URL path such as "/wecom/bot": it begins with "/" and contains no space and none of ?#%{}'
    return None


def _encoding_aes_key_problem(key: str) -> str | None:
    try:
        cipher.decode_key(key)
    except ValueError as error:
        return str(error)
    return None


KEYS: Final = (
    ENABLED,
    Key(
        name="type",
        type="string",
        default=TYPE,
        title="Type",
        title_zh="类型",
        help="Type of the channel. Required only if the entry has a name other than wecom, as with several bots.",
        help_zh="通道类型。仅当条目名不是 wecom（例如配置多个机器人）时需要填写。",
    ),
    Key(
        name="token",
        type="secret",
        required=True,
        title="Token",
        title_zh="回调 Token",
        help="Token of the bot's callback, from the WeCom console.",
        help_zh="机器人回调的 Token，可在企业微信管理后台查看。",
    ),
    Key(
        name="encodingAESKey",
        type="secret",
        required=True,
        check=_encoding_aes_key_problem,
        title="EncodingAESKey",
        title_zh="回调 EncodingAESKey",
        help="EncodingAESKey of the bot's callback, from the WeCom console: 43 characters that decode to 32 bytes.",
        help_zh="机器人回调的 EncodingAESKey，可在企业微信管理后台查看：共 43 个字符，解码后为 32 字节。",
    ),
    Key(
        name="receiveId",
        type="string",
        default="",
        check=copying_problem,
        title="Receive id",
        title_zh="接收方 ID",
        help="Receive id that every callback must contain; empty: not checked. An in-house bot has none.",
        help_zh="每个回调必须包含的 receiveId；留空则不检查。企业内部机器人没有此值。",
    ),
    Key(
        name="host",
        type="string",
        default=_EVERY_INTERFACE,
        title="Listening address",
        title_zh="监听地址",
        help="Address on which the channel listens. 0.0.0.0 is every IPv4 address, :: every address of IPv4 and IPv6.",
        help_zh="监听地址。0.0.0.0 表示所有 IPv4 地址，:: 表示所有 IPv4 和 IPv6 地址。",
        check=_host_problem,
    ),
    Key(
        name="port",
        type="integer",
        default=9886,
        minimum=0,
        maximum=MAX_PORT,
        title="Listening port",
        title_zh="监听端口",
        help="Port on which the channel listens for callbacks; 0: any free port.",
        help_zh="接收回调的监听端口；0 表示任选一个空闲端口。",
    ),
    Key(
        name="path",
        type="string",
        default="/wecom/bot",
        pattern="^/",
        check=_path_problem,
        title="URL path",
        title_zh="回调路径",
        help="Path of the callback URL. Every other path is answered 404.",
        help_zh="回调 URL 的路径；其他路径一律返回 404。",
    ),
    Key(
        name="allowFrom",
        type="list of strings",
        default=(),
        check=_ids_problem,
        title="Allowed users",
        title_zh="允许的用户",
        help="Ids of the users who may talk to the bot; empty: everyone.",
        help_zh="可以与机器人对话的用户 ID；留空表示所有人。",
    ),
    Key(
        name="allowGroups",
        type="list of strings",
        default=(),
        check=_ids_problem,
        title="Allowed groups",
        title_zh="允许的群聊",
        help="Ids of the groups in which the bot answers; empty: every group.",
        help_zh="机器人会回复的群聊 ID；留空表示所有群聊。",
    ),
    Key(
        name="botIds",
        type="list of strings",
        default=(),
        check=_ids_problem,
        title="Bot ids",
        title_zh="机器人 ID",
        help="Ids (aibotid) of the bots whose callbacks are accepted; empty: every bot with this token and key.",
        help_zh="允许哪些机器人（aibotid）的回调；留空表示使用该 Token 和密钥的所有机器人。",
    ),
    Key(
        name="progress",
        type="string",
        default="off",
        choices=("off", "notice", "stream"),
        title="Progress",
        title_zh="回答进度",
        help="What people see before the answer is complete: off, nothing; notice, progressText; stream, the answer "
        "as it grows, for up to five and a half minutes.",
        help_zh="回答完成之前用户看到什么：off 无；notice 显示 progressText；stream 逐步显示回答（最长五分半钟）。",
    ),
    Key(
        name="progressText",
        type="sentence",
        default=PROGRESS._asdict(),
        check=_progress_text_problem,
        title="Progress text",
        title_zh="进度提示",
        help="Shown at once with progress; empty: moving dots in stream, nothing in notice. "
        "A string, or an object with the keys zh and en.",
        help_zh="启用 progress 时立即显示的文字；留空时 stream 显示动态圆点，notice 不显示；可分 zh 和 en。",
    ),
    Key(
        name="welcomeText",
        type="sentence",
        default="",
        check=_welcome_problem,
        title="Welcome",
        title_zh="欢迎语",
        help="Greeting for a person who enters the single chat, once a day, in plain text; empty: none. "
        "A string, or an object with the keys zh and en.",
        help_zh="用户当天首次进入单聊时的欢迎语（纯文本）；可分 zh 和 en；留空则不发送。",
    ),
    Key(
        name="refusalText",
        type="sentence",
        default="",
        check=_reply_text_problem,
        title="Text for refused people",
        title_zh="拒绝提示",
        help="Answer to people whom allowFrom or allowGroups refuses, at most once an hour each; empty: none. "
        "A string, or an object with the keys zh and en.",
        help_zh="对被 allowFrom 或 allowGroups 拒绝的用户的答复，每人每小时最多一次；可分 zh 和 en；留空则不答复。",
    ),
    Key(
        name="mentionNames",
        type="list of strings",
        default=(),
        title="Names of the bot",
        title_zh="机器人名称",
        help="Names of the bot, with or without @. A mention at the start or end of a text in a group is removed.",
        help_zh="机器人的名称，可带或不带 @。群聊文本开头或结尾处对机器人的 @ 会被去掉。",
    ),
    Key(
        name="proxy",
        type="secret",
        default="",
        check=proxy_problem,
        title="Proxy",
        title_zh="代理",
        help="Proxy URL for replies and media: http, https, socks5 or socks5h. The last two need the extra [socks].",
        help_zh="发送回复和下载媒体所用的代理：http、https、socks5 或 socks5h（后两种需安装附加依赖 [socks]）。",
    ),
    Key(
        name="allowPrivateNetwork",
        type="boolean",
        default=False,
        title="Private network",
        title_zh="允许内网",
        help="true: replies and media may use private and loopback addresses, which the simulator needs.",
        help_zh="true：发送回复和下载媒体时允许访问内网和本机地址。使用模拟器时需要。",
    ),
    Key(
        name="state",
        # An address in Redis may contain a password.
        type="secret",
        default=MEMORY,
        pattern=r"^\s*(memory:\s*$|sqlite:|rediss?://)",
        check=address_problem,
        may_have_spaces=True,
        title="State",
        title_zh="状态存储",
        help="Where claims, reply windows and unfinished callbacks are stored: memory:, sqlite:PATH or redis://HOST.",
        help_zh="去重记录、回复窗口和未完成回调的存储位置：memory:、sqlite:路径 或 redis://主机。",
    ),
    Key(
        name="overflow",
        type="string",
        default="truncate",
        choices=("truncate", "continue"),
        title="Long answers",
        title_zh="超长回复",
        help="Handling of answers over 20,480 bytes: truncate, or continue through spare windows of the same person.",
        help_zh="回复超过 20,480 字节时：truncate 截断；continue 通过同一用户的其他回复窗口续发。",
    ),
    Key(
        name="language",
        type="string",
        default="auto",
        choices=("auto", "zh", "en"),
        title="Language",
        title_zh="语言",
        help="Language of the channel's and host's own sentences in the chat: zh, en, or auto: Chinese for a person "
        "who writes any Chinese character, otherwise English.",
        help_zh="通道和宿主发给用户的提示语使用的语言：zh 中文；en 英文；auto 用户的消息含汉字时用中文，否则用英文。",
    ),
    Key(
        name="feedback",
        type="boolean",
        default=False,
        title="Feedback",
        title_zh="反馈",
        help="true: people can rate every answer. Ratings are counted, and logged with the trail of what was answered.",
        help_zh="true：用户可以评价每条回复。评价会被计数，并与所回复消息的 trail 一起写入日志。",
    ),
    Key(
        name="maxSkewSeconds",
        type="integer",
        # WeCom documents no limit, and a repeat is recognized by its id. With a limit, a wrong clock loses messages.
        default=0,
        minimum=0,
        title="Largest clock skew",
        title_zh="最大时间偏差",
        help="Callbacks whose timestamp differs from the clock by more are answered 401; 0: not checked.",
        help_zh="时间戳与本机时间偏差超过此秒数的回调返回 401；0 表示不检查。",
    ),
    Key(
        name="previousToken",
        type="secret",
        default="",
        title="Previous token",
        title_zh="旧 Token",
        help="The old token during a change, accepted with the old EncodingAESKey, or the current one if that stays.",
        help_zh="更换期间仍接受的旧 Token，与旧 EncodingAESKey 配对；EncodingAESKey 未更换时与当前的配对。",
    ),
    Key(
        name="previousEncodingAESKey",
        type="secret",
        default="",
        check=_encoding_aes_key_problem,
        title="Previous EncodingAESKey",
        title_zh="旧 EncodingAESKey",
        help="The old EncodingAESKey during a change, accepted with the old token, or the current one if that stays.",
        help_zh="更换期间仍接受的旧 EncodingAESKey，与旧 Token 配对；Token 未更换时与当前的配对。",
    ),
    Key(
        name="inboxLimit",
        type="integer",
        # Higher: more memory while an agent hangs (a message uses up to 1 MiB besides its media). Lower: 503 sooner.
        default=1_000,
        minimum=1,
        title="Inbox limit",
        title_zh="处理中消息上限",
        help="Maximum number of messages in progress. When it is reached, callbacks are answered 503.",
        help_zh="同时处理的消息数上限；达到上限后回调返回 503。",
    ),
    Key(
        name="mediaLimitBytes",
        type="integer",
        # Higher: more memory while an agent hangs. Lower: media wait longer, and their URLs expire after five minutes.
        default=256 * 1024 * 1024,
        minimum=BLOCK_BYTES,
        title="Media limit",
        title_zh="媒体内存上限",
        help="Maximum bytes that the media of messages in progress use, in base64. Beyond it pictures and files wait. "
        f"At least {BLOCK_BYTES}, the size of the largest picture.",
        help_zh=f"处理中消息的媒体最多占用的字节数（base64），至少 {BLOCK_BYTES}（最大的图片）；超过后图片和文件等待。",
    ),
    Key(
        name="idleSeconds",
        type="integer",
        # Lower: a reverse proxy that keeps connections longer sends a callback just as the server closes, and answers
        # 502. The longest default that is known is Envoy's hour. Higher: dead connections are kept longer.
        default=3_660,
        minimum=1,
        title="Idle time",
        title_zh="空闲连接保留时间",
        help="Seconds that a connection stays open after a genuine callback. More than your reverse proxy keeps it.",
        help_zh="连接在最后一次有效回调之后保留的秒数；应长于反向代理保留空闲连接的时间。",
    ),
    Key(
        name="shortPath",
        type="boolean",
        default=True,
        obsolete=True,
        title="Short path",
        title_zh="短路径",
        help="Accepted and ignored; a log line at start reports it.",
        help_zh="已废弃：接受但忽略，启动时会记录一行日志。",
    ),
    Key(
        name="drainSeconds",
        type="number",
        # Lower: a stop interrupts more answers. Higher: a stop may take longer than the process supervisor allows.
        default=10.0,
        minimum=0,
        title="Drain time",
        title_zh="停止等待时间",
        help="Maximum seconds that a stop waits for messages in progress.",
        help_zh="停止时等待处理中消息的最长秒数。",
    ),
)
"""The keys of an entry of `channels`. README, `plugin.toml` and the JSON Schema are generated from them."""


class WeComConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The validated settings of a channel.

    `credentials` holds the current pair, and during a rotation also the previous one. `language` is None if it is
    chosen for each person. `obsolete` names the obsolete keys that the entry contains.
    """

    credentials: tuple[Credentials, ...]
    receive_id: str
    host: str
    port: int
    path: str
    rules: AdmissionRules
    progress: ProgressMode
    progress_text: Sentence
    welcome_text: Sentence
    refusal_text: Sentence
    mention_names: tuple[str, ...]
    proxy: str | None
    allow_private_network: bool
    state: str
    overflow: Overflow
    language: Language | None
    feedback: bool
    max_skew_seconds: int
    inbox_limit: int
    media_limit_bytes: int
    idle_seconds: int
    drain_seconds: float
    obsolete: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<WeComConfig {self.host}:{self.port}{self.path}>"


def is_wecom(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of `channels` is of this type, which is its name unless it has the key `type`."""
    return bool(entry.get("type", name) == TYPE)


def problems(name: str, raw: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each problem of the entry `channels.<name>`, an empty list if there is none."""
    try:
        read_config(name, raw)
    except ConfigError as error:
        return list(error.problems)
    return []


def read_config(name: str, raw: Mapping[str, Any]) -> WeComConfig:
    """Read the raw mapping under `channels.<name>`.

    Raises:
        ConfigError: the mapping has problems; each is a sentence that names its key and what would be right.
    """
    settings = Settings(raw, f"channels.{name}", KEYS)
    values = settings.read_all()
    token, aes_key = values["token"], values["encodingAESKey"]
    # WeCom saves token and key together, so a pair is current or previous. A part that has no previous value was not
    # changed.
    pairs = ((token, aes_key), (values["previousToken"] or token, values["previousEncodingAESKey"] or aes_key))
    return WeComConfig(
        credentials=tuple(Credentials(token, cipher.decode_key(aes_key)) for token, aes_key in dict.fromkeys(pairs)),
        receive_id=values["receiveId"],
        host=values["host"],
        port=values["port"],
        path=values["path"],
        rules=AdmissionRules(
            senders=frozenset(values["allowFrom"]),
            groups=frozenset(values["allowGroups"]),
            bots=frozenset(values["botIds"]),
        ),
        progress=values["progress"],
        progress_text=Sentence.of(values["progressText"]),
        welcome_text=Sentence.of(values["welcomeText"]),
        refusal_text=Sentence.of(values["refusalText"]),
        mention_names=values["mentionNames"],
        proxy=values["proxy"] or None,
        allow_private_network=values["allowPrivateNetwork"],
        state=values["state"],
        overflow=values["overflow"],
        language=None if values["language"] == "auto" else values["language"],
        feedback=values["feedback"],
        max_skew_seconds=values["maxSkewSeconds"],
        inbox_limit=values["inboxLimit"],
        media_limit_bytes=values["mediaLimitBytes"],
        idle_seconds=values["idleSeconds"],
        drain_seconds=values["drainSeconds"],
        obsolete=settings.obsolete(),
    )


def state_address(name: str, raw: Mapping[str, Any]) -> str:
    """Return the address of the state in the entry `channels.<name>`, whatever is wrong with its other keys.

    Raises:
        ConfigError: the address has a problem.
    """
    keys = [key for key in KEYS if key.name == "state"]
    address: str = Settings(raw, f"channels.{name}", keys, open_ended=True).read_all()["state"]
    return address


def conflicts(entries: Mapping[str, Mapping[str, Any]], taken: Sequence[tuple[str, int, str]]) -> list[str]:
    """Return one sentence for each pair of entries that cannot run together.

    `taken` holds the addresses where the host itself listens: host, port, and the key that sets the port.
    """
    found = []
    listening = list(taken)
    files: dict[str, str] = {}
    for name, raw in entries.items():
        settings = Settings(raw, f"channels.{name}", KEYS)
        unrelated = len(settings.problems)
        host, port, path = settings["host"], settings["port"], sqlite_path(settings["state"])
        if len(settings.problems) > unrelated:
            continue
        key = f"channels.{name}.port"
        for other_host, other_port, other_key in listening:
            if port == other_port != 0 and _hosts_overlap(host, other_host):
                found.append(f"{other_key} and {key} are both {port}: give each a port of its own")
        listening.append((host, port, key))
        if path and path in files:
            found.append(f"{files[path]} and channels.{name}.state are the same file: give each a file of its own")
        elif path:
            files[path] = f"channels.{name}.state"
    return found


def _hosts_overlap(one: str, other: str) -> bool:
    """Return whether two listeners on one port exclude each other. `::` stands for every address, IPv4 included."""
    hosts = {"127.0.0.1" if host == "localhost" else host for host in (one, other)}
    return len(hosts) == 1 or "::" in hosts or (_EVERY_INTERFACE in hosts and not any(":" in host for host in hosts))


def entry_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an entry of `channels`."""
    return object_schema(KEYS)
