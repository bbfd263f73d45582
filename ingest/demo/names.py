"""Names in both languages, drawn from the words of words.toml."""

import tomllib
from functools import cache
from importlib import resources

import numpy as np

from twin.city import Title

__all__ = ["chinese_number", "estate_names", "street_names", "village_names", "words"]

_DIGITS = "零一二三四五六七八九"
_TEN, _HUNDRED = 10, 100
_HEAD_SHARE = 0.45


@cache
def words(group: str) -> tuple[Title, ...]:
    """The word pairs of one group of words.toml."""
    text = (resources.files("ingest.demo") / "words.toml").read_text(encoding="utf-8")
    return tuple(Title(zh=zh, en=en) for zh, en in (pair.split(" ", 1) for pair in tomllib.loads(text)[group]))


def chinese_number(number: int) -> str:
    """1..99 as it stands in names: 一, 十二, 三十; larger ones in figures."""
    if not 0 < number < _HUNDRED:
        return str(number)
    tens, ones = divmod(number, _TEN)
    head = "" if tens == 0 else ("" if tens == 1 else _DIGITS[tens]) + "十"
    return head + (_DIGITS[ones] if ones else "")


def street_names(count: int, rng: np.random.Generator) -> list[Title]:
    """`count` different words for streets; once the words are used up, numbered ones follow (工业二)."""
    pool = words("streets")
    names: list[Title] = []
    for turn in range(-(-count // len(pool))):
        zh, en = (chinese_number(turn + 1), f" No. {turn + 1}") if turn else ("", "")
        names += [Title(zh=pool[k].zh + zh, en=pool[k].en + en) for k in rng.permutation(len(pool))]
    return names[:count]


def village_names(count: int, rng: np.random.Generator) -> list[Title]:
    """`count` village names, different as far as the words go: 东张庄村, Dongzhangzhuang Village."""
    heads, surnames, tails = words("village_heads"), words("surnames"), words("village_tails")
    every = len(heads) * len(surnames) * len(tails)
    names: list[Title] = []
    used: set[str] = set()
    for draw in rng.permutation(every):
        head, rest = divmod(int(draw), len(surnames) * len(tails))
        surname, tail = surnames[rest // len(tails)], tails[rest % len(tails)]
        front = heads[head] if rng.random() < _HEAD_SHARE else None
        home = "家" if front is None else ""
        zh = (front.zh if front else "") + surname.zh + home + tail.zh + ("" if tail.zh == "村" else "村")
        if zh in used:
            continue
        used.add(zh)
        en = (front.en if front else "") + surname.en + ("jia" if home else "") + tail.en
        names.append(Title(zh=zh, en=f"{en.capitalize()} Village"))
        if len(names) == count:
            break
    return names


def estate_names(count: int, rng: np.random.Generator) -> list[Title]:
    """`count` names of housing estates; repeated ones are told apart by a number."""
    fronts, tails = words("estates"), words("estate_tails")
    draw = rng.integers(0, len(fronts) * len(tails), count)
    seen: dict[int, int] = {}
    names: list[Title] = []
    for pick in draw.tolist():
        seen[pick] = seen.get(pick, 0) + 1
        front, tail = fronts[pick // len(tails)], tails[pick % len(tails)]
        phase = seen[pick]
        names.append(Title(zh=front.zh + tail.zh + (f"{chinese_number(phase)}期" if phase > 1 else ""),
                           en=f"{front.en} {tail.en}" + (f", Phase {phase}" if phase > 1 else "")))  # fmt: skip
    return names
