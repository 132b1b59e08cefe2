"""Generates the reference of configuration keys in both READMEs and plugin.toml from their declarations.

python -m reference
"""

from __future__ import annotations

from maven_channel_wecom import terminal

if __name__ == "__main__":
    # Before the long imports, so that Ctrl-C ends them silently.
    terminal.prepare()

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from maven_channel_wecom import config
from maven_channel_wecom.host import configuration as host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from maven_channel_wecom.settings import Key

ROOT: Final = Path(__file__).parent


class Words(NamedTuple):
    """The words of the tables in one language. `remark` returns what a key means."""

    head: str
    required: str
    required_if: str
    either: str
    obsolete: str
    secret: str
    remark: Callable[[Key], str]


READMES: Final = {
    ROOT / "README.md": Words(
        head="| key | default | |",
        required="**required**",
        required_if="**required** if `{other}` is {either}",
        either=" or ",
        obsolete="**Obsolete.** ",
        secret=" Secret.",  # noqa: S106 - the word for it
        remark=lambda key: key.help,
    ),
    ROOT / "README.zh-CN.md": Words(
        head="| 键 | 默认值 | 说明 |",
        required="**必填**",
        required_if="`{other}` 为 {either} 时**必填**",
        either=" 或 ",
        # The Chinese help says so itself.
        obsolete="",
        secret="机密。",  # noqa: S106 - the word for it
        remark=lambda key: f"**{key.title_zh}** {key.help_zh}",
    ),
}
"""Both READMEs, each with the words of its language."""


def main() -> int:
    """Bring both files up to date and print their paths."""
    found = contents()
    for path, content in found.items():
        if path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
    # Printed at the end, because a closed output ends the command.
    sys.stdout.writelines(f"{path}\n" for path in found)
    return 0


def contents() -> dict[Path, str]:
    """Return the up-to-date content of each file."""
    manifest = ROOT / "plugin.toml"
    return {path: _readme(path, words) for path, words in READMES.items()} | {
        manifest: _replaced(
            manifest.read_text("utf-8"),
            "# begin: config",
            "# end: config",
            "\n".join(map(_manifest_entry, config.KEYS)),
        ),
    }


def _readme(path: Path, words: Words) -> str:
    text = path.read_text("utf-8")
    for name, rows in (("config", _rows("", config.KEYS, words)), ("host config", _host_rows(words))):
        table = f"{words.head}\n|---|---|---|\n{''.join(rows)}"
        text = _replaced(text, f"<!-- table: {name} -->", "<!-- end -->", table)
    return text


def _replaced(text: str, begin: str, end: str, part: str) -> str:
    """Return a text with everything between the lines `begin` and `end` replaced by `part`."""
    before, _, rest = text.partition(f"{begin}\n")
    _, _, after = rest.partition(f"{end}\n")
    return f"{before}{begin}\n{part}{end}\n{after}"


def _host_rows(words: Words) -> Iterator[str]:
    sections = {
        "gateway.": host.GATEWAY_KEYS,
        "agent.": host.AGENT_KEYS,
        "cron[].": host.CRON_KEYS,
        "logging.": host.LOGGING_KEYS,
    }
    for prefix, keys in sections.items():
        yield from _rows(prefix, keys, words)


def _rows(prefix: str, keys: Iterable[Key], words: Words) -> Iterator[str]:
    for key in keys:
        remark = words.obsolete * key.obsolete + words.remark(key) + words.secret * (key.type == "secret")
        yield f"| `{prefix}{key.name}` | {_default(key, words)} | {remark} |\n"


def _default(key: Key, words: Words) -> str:
    if isinstance(key.required, tuple):
        other, *values = key.required
        either = words.either.join(f"`{json.dumps(value)}`" for value in values)
        return words.required_if.format(other=other, either=either)
    if key.required:
        return words.required
    return "" if key.default is None else f"`{json.dumps(key.default, ensure_ascii=False)}`"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(each)}' for name, each in value.items())} }}"
    # JSON and TOML have the same syntax for these strings, numbers, booleans and lists.
    return json.dumps(value, ensure_ascii=False)


def _manifest_entry(key: Key) -> str:
    lines: dict[str, object] = {"key": key.name, "type": key.type}
    lines |= {"required": True} if key.required else {"default": key.default}
    lines |= {"deprecated": True} if key.obsolete else {}
    lines |= {"help": key.help}
    return "[[config]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(terminal.run(main))
