"""Generates the reference of configuration keys in README.md and plugin.toml from their declarations.

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
from typing import TYPE_CHECKING, Final

from maven_channel_wecom import config
from maven_channel_wecom.host import configuration as host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maven_channel_wecom.settings import Key

ROOT: Final = Path(__file__).parent


def main() -> int:
    """Bring both files up to date and print their paths."""
    for path, content in contents().items():
        if path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


def contents() -> dict[Path, str]:
    """Return the up-to-date content of each file."""
    readme, manifest = ROOT / "README.md", ROOT / "plugin.toml"
    return {
        readme: _replaced(
            _replaced(readme.read_text("utf-8"), "<!-- table: config -->", "<!-- end -->", _table("", config.KEYS)),
            "<!-- table: host config -->",
            "<!-- end -->",
            _host_table(),
        ),
        manifest: _replaced(
            manifest.read_text("utf-8"),
            "# begin: config",
            "# end: config",
            "\n".join(map(_manifest_entry, config.KEYS)),
        ),
    }


def _replaced(text: str, begin: str, end: str, part: str) -> str:
    """Return a text with everything between the lines `begin` and `end` replaced by `part`."""
    before, _, rest = text.partition(f"{begin}\n")
    _, _, after = rest.partition(f"{end}\n")
    return f"{before}{begin}\n{part}{end}\n{after}"


def _table(prefix: str, keys: Iterable[Key]) -> str:
    return "| key | default | |\n|---|---|---|\n" + "".join(_rows(prefix, keys))


def _host_table() -> str:
    sections = {
        "gateway.": host.GATEWAY_KEYS,
        "agent.": host.AGENT_KEYS,
        "cron[].": host.CRON_KEYS,
        "logging.": host.LOGGING_KEYS,
    }
    rows = (row for prefix, keys in sections.items() for row in _rows(prefix, keys))
    return _table("", ()) + "".join(rows)


def _rows(prefix: str, keys: Iterable[Key]) -> Iterator[str]:
    for key in keys:
        remark = "**Obsolete.** " * key.obsolete + key.help + " Secret." * (key.type == "secret")
        yield f"| `{prefix}{key.name}` | {_default(key)} | {remark} |\n"


def _default(key: Key) -> str:
    if isinstance(key.required, tuple):
        other, *values = key.required
        return f"**required** if `{other}` is {' or '.join(f'`{json.dumps(value)}`' for value in values)}"
    if key.required:
        return "**required**"
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
