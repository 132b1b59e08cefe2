"""State files with random damage, and the check that a store returns what was written or refuses the file.

The damage depends on a seed only, so a failure can be reproduced.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.store import Admission, StoredCallback
from tests.state.messages import take_over_all

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from maven_channel_wecom.state.store import StateStore

NOW: Final = 1_700_000_000.0
_MESSAGES: Final = 240
_CHATS: Final = 7
_FILE_NAMES: Final = ("crashed", "closed")

CALLBACKS: Final = {
    f"m{number}": StoredCallback(f"m{number}", NOW + number, f"text-{number} ".encode() * 40)
    for number in range(_MESSAGES)
}
WINDOWS: Final = {
    f"m{number}": ReplyWindow(
        f"m{number}",
        chat_key(f"chat{number % _CHATS}", is_group=True),
        "alice",
        f"https://x/m{number}",
        NOW + number,
        NOW + number + 3600,
    )
    for number in range(_MESSAGES)
}


async def write(folder: Path) -> None:
    """Write two undamaged files into a folder: one abandoned in a crash, with its WAL, and one that was closed."""
    for name in _FILE_NAMES:
        state = await open_state(f"sqlite:{folder}/{name}.writing", channel="wecom")
        await asyncio.gather(*(_use_message(state, number) for number in range(_MESSAGES // 2)))
        for number in range(_MESSAGES // 2, _MESSAGES):
            await _use_message(state, number)
        if name == "closed":
            await state.close()
        for suffix in ("", "-wal"):
            if (folder / f"{name}.writing{suffix}").exists():
                shutil.copyfile(folder / f"{name}.writing{suffix}", folder / f"{name}.db{suffix}")
        await state.close()


async def _use_message(state: StateStore, number: int) -> None:
    """Admit a message, and then leave it in progress, finish, answer or release it, depending on its number."""
    callback, window = CALLBACKS[f"m{number}"], WINDOWS[f"m{number}"]
    assert await state.admit([Admission(callback, window)], NOW) == [True]
    if number % 5 == 1:
        await state.finish(callback.message_id, NOW)
    if number % 5 in {2, 3}:
        claimed = await state.claim_window([window.chat], callback.message_id, NOW)
        assert claimed == window
    if number % 5 == 3:
        await state.spend_window(window, NOW)
    if number % 15 == 4:
        await state.release(callback.message_id, NOW)


async def examine(undamaged: Path, folder: Path, seeds: Iterable[int]) -> Counter[str]:
    """Damage copies of the files of `write` and open them. Return the number of times each outcome occurred."""
    return Counter([await _examine(undamaged, folder, seed) for seed in seeds])


async def _examine(undamaged: Path, folder: Path, seed: int) -> str:
    numbers = random.Random(seed)  # noqa: S311 - not used for security
    path = folder / "damaged.db"
    name = numbers.choice(_FILE_NAMES)
    for suffix in ("", "-wal"):
        copy = folder / f"damaged.db{suffix}"
        copy.unlink(missing_ok=True)
        if (undamaged / f"{name}.db{suffix}").exists():
            shutil.copyfile(undamaged / f"{name}.db{suffix}", copy)
    parts = [part for part in (path, folder / "damaged.db-wal") if part.exists() and part.stat().st_size]
    for _ in range(numbers.choice((1, 1, 1, 2, 5))):
        _damage(numbers.choice(parts), numbers)
    try:
        state = await open_state(f"sqlite:{path}", channel="wecom")
    except StateUnavailable as refusal:
        _check_sentence(str(refusal), path, seed)
        return "refused"
    try:
        await _check_entries(state, seed)
    except StateUnavailable as unavailable:
        _check_sentence(str(unavailable), path, seed)
        return "refused later" if await state.health() == str(unavailable) else "healthy"
    finally:
        await state.close()
    return "opened"


def _damage(path: Path, numbers: random.Random) -> None:
    content = bytearray(path.read_bytes())
    offset = numbers.randrange(len(content) or 1)
    kind = numbers.choice(("bit", "bit", "bytes", "zeros", "cut", "page"))
    end = offset + numbers.choice((2, 16, 512, 4096))
    if kind == "bit" and content:
        content[offset] ^= 1 << numbers.randrange(8)
    elif kind == "bytes":
        content[offset:end] = numbers.randbytes(len(content[offset:end]))
    elif kind == "zeros":
        content[offset:end] = bytes(len(content[offset:end]))
    elif kind == "cut":
        del content[offset:]
    elif kind == "page":
        # A page copied over another one: each page is valid on its own.
        first, second = (numbers.randrange(len(content) // 2048 or 1) * 2048 for _ in range(2))
        content[first : first + 2048] = content[second : second + 2048]
    path.write_bytes(content)


def _check_sentence(sentence: str, path: Path, seed: int) -> None:
    assert sentence.startswith(f"the state file {path} "), (seed, sentence)
    assert not any(secret in sentence for secret in ("\n", "https", "text-", "sqlite3")), (seed, sentence)


async def _check_entries(state: StateStore, seed: int) -> None:
    """Read every entry and check that none differs from what was written."""
    for callback in await take_over_all(state, NOW + _MESSAGES):
        assert callback == CALLBACKS[callback.message_id], seed
    asked = [(window.chat, reply_to) for window in WINDOWS.values() for reply_to in (window.message_id, None)]
    claimed = await asyncio.gather(*(state.claim_window([chat], reply_to, NOW) for chat, reply_to in asked))
    for (chat, reply_to), found in zip(asked, claimed, strict=True):
        if found is not None:
            assert reply_to in {None, found.message_id}, seed
            assert found.chat == chat, seed
            assert msgspec.structs.replace(found, repeated=False) == WINDOWS[found.message_id], seed
    await asyncio.gather(*(state.finish(message_id, NOW) for message_id in CALLBACKS))
    assert await state.admit([Admission(StoredCallback("new", NOW, b"new"), None)], NOW) == [True], seed
