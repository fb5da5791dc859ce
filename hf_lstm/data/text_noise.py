"""Noise on texts, of the kinds that people, keyboards and scanners make, to test models and to train them for it."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations
from math import dist
from random import Random
from string import ascii_lowercase

from .checks import InputError, listing, nearest_name
from .spaceless import SPACELESS_SCRIPTS

# What stands in place of some characters, and how many these are; `None` where a kind of noise can change nothing.
Edit = tuple[str, int] | None
Editor = Callable[[str, int, Random], Edit]

MIXED = "mixed"
_HAN = re.compile("[\u4e00-\u9fff]")
_TOKEN = re.compile(f"{SPACELESS_SCRIPTS.pattern}|(?:(?!{SPACELESS_SCRIPTS.pattern})\\S)+")
_NUM_SAMPLED_TEXTS = 2000
# The rows of a keyboard, with how far each begins to the right of the first, in keys.
_KEYBOARD = (("1234567890", 0.0), ("qwertyuiop", 0.5), ("asdfghjkl", 0.75), ("zxcvbnm", 1.25))
# Signs that differ by a stroke or less, in print or on a bad scan.
_LOOK_ALIKE = (
    "0Oo 1lI| 2Zz 5Ss 8B 6bG 9gq ce uv ft ij nh CG EF PR VY QO DO ., ;: "
    "己已巳 未末 土士 日曰目 人入八 大太犬 天夭 千干于 王玉主 刀力 几九 木术 田由甲申 今令 鸟乌 免兔 侯候 拔拨 析折 "
    "待侍 问间 贝见 牛午 元无 白自 且旦 处外 友发 左在 石右 万方 办为 小少 广厂 车东 名各 思恩 治冶 住往 读续 请清情 "
    "这过 进近 休体 本木 市布 师帅 归旧 因困团 国园 孩该 很根 跟银 眼限 没设 话活 快块 拍怕 扮纷 低底 抵纸 具真 直值 "
    "历厉 户尸 爪瓜 斤斥 戊戌戍 折拆 辨辩 幕墓慕 梁粱 竟竞 券卷 代伐 仑仓 抢枪 推准 谁难 视现 观规 股般 船般 种钟 "
    "科料 和知 利到 列别 判叛 亚业 开井 并开 平乎 手毛 气乞 民氏 心必 巾币 全金 会合 公么 从丛 化比 北此 水永 火灭"
)
_SEQUENCES = (("rn", "m"), ("cl", "d"), ("vv", "w"), ("li", "h"), ("nn", "m"), ("ri", "n"))


class TextNoise:
    """
    Disturbs characters or tokens of a text at random.

    Each character that the kind of noise can change is changed with a probability, the rate; white space never is:

    - `typo`: one of the four errors that most misspellings are (https://doi.org/10.1145/363958.363994): a letter in
      its place, a letter after it, its loss, or a swap with the next. Letters are drawn from a to z or the common
      Chinese characters, so that now and then one comes out the same, and in other alphabets from the others in the
      text;
    - `swap`: it changes places with the next one. Within a long word, the rate is the share of characters that move;
      less do at the ends of words, and where the next one is the same: at 0.1, some 7 % in words as short as English;
    - `delete`: it is lost;
    - `case`: a small letter becomes a capital or the other way round;
    - `keyboard`: a letter or digit becomes one that is next to it on a QWERTY keyboard;
    - `homophone`: a Chinese character becomes another common one of the same syllable in any tone, as a pinyin input
      method offers them;
    - `ocr`: it becomes a sign that looks alike, or `rn` becomes `m` and the like;
    - `token`: a token is inserted after a word, or after a character where words are not separated, with the rate as
      the share of these; it is drawn from the words of given texts;
    - `mixed`: one of the above, drawn from those that can change the character.

    Args:
        kind (`str`): One of `KINDS`.
        texts (`Sequence[str]`): Texts whose words are inserted. They also tell whether there is Chinese.

    Raises:
        InputError: If there is no such kind.
        ImportError: If Chinese homophones are needed and pypinyin is not installed.
    """

    def __init__(self, kind: str, texts: Sequence[str]):
        if kind not in KINDS:
            raise InputError(
                f"The kind of noise is {kind!r}, but must be one of {listing(KINDS, 20)}.{nearest_name(kind, KINDS)}"
            )
        self.kind = kind
        sample = texts[:: max(1, len(texts) // _NUM_SAMPLED_TEXTS)]
        self.words = [word for text in sample for word in _TOKEN.findall(text)]
        if kind == "homophone" or (kind == MIXED and any(map(_HAN.search, sample))):
            find_homophones()  # what is missing shows now
        editors = _EDITORS | {"token": self._insert_token}
        self._editors = list(editors.values()) if kind == MIXED else [editors[kind]]

    def __call__(self, text: str, rate: float, *key: int) -> str:
        """
        Returns the disturbed text.

        Args:
            text (`str`): Any text.
            rate (`float`): Probability with which a character is changed, between 0 and 1.
            key (`int`): Numbers that the noise depends on beside the text, such as a seed and a row.

        Raises:
            InputError: If the rate is no probability.
        """
        if not 0 <= rate <= 1:
            raise InputError(f"The rate of noise is {rate}, but must be at least 0 and at most 1.")
        # As each swap moves two, this many must begin one for the share `rate` of a long word to move.
        probability = rate / (2 - rate) if self.kind == "swap" else rate
        random = Random(" ".join(map(str, key)))  # noqa: S311  # draws that can be repeated, no secrets
        parts, place = [], 0
        while place < len(text):
            edit = self._edit(text, place, random) if random.random() < probability else None
            part, length = edit or (text[place], 1)
            parts.append(part)
            place += length
        return "".join(parts)

    def _edit(self, text: str, place: int, random: Random) -> Edit:
        if text[place].isspace():
            return None
        edits = [edit for edit in (editor(text, place, random) for editor in self._editors) if edit is not None]
        return random.choice(edits) if edits else None

    def _insert_token(self, text: str, place: int, random: Random) -> Edit:
        following = text[place + 1 : place + 2]
        is_spaceless = SPACELESS_SCRIPTS.match(text[place]) is not None
        is_end = is_spaceless or not following.strip() or SPACELESS_SCRIPTS.match(following) is not None
        if not (is_end and self.words):
            return None
        return f"{text[place]}{'' if is_spaceless else ' '}{random.choice(self.words)}", 1


@cache
def find_homophones() -> dict[str, str]:
    """
    Returns, for each common Chinese character, the other ones of its syllable.

    Raises:
        ImportError: If pypinyin is not installed.
    """
    try:
        from pypinyin import lazy_pinyin
    except ImportError as error:
        raise ImportError(
            "Chinese homophones need pypinyin, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    by_syllable = defaultdict(list)
    for character in _common_characters():
        by_syllable[lazy_pinyin(character)[0]].append(character)
    return {one: "".join(group).replace(one, "") for group in by_syllable.values() for one in group}


@cache
def _common_characters() -> str:
    """Returns the 3755 characters of the first level of GB 2312, the more common ones."""
    codes = bytes(byte for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF) for byte in (row, cell))
    return codes.decode("gb2312", errors="ignore")


def _neighbouring_keys() -> dict[str, str]:
    places = {
        key: (start + column, row) for row, (keys, start) in enumerate(_KEYBOARD) for column, key in enumerate(keys)
    }
    return {
        one: "".join(other for other, place in places.items() if other != one and dist(place, here) < 1.3)
        for one, here in places.items()
    }


def _confusions() -> dict[str, list[str]]:
    found = defaultdict(list)
    for one, other in [pair for group in _LOOK_ALIKE.split() for pair in permutations(group, 2)]:
        found[one].append(other)
    for several, one in _SEQUENCES:
        found[several].append(one)
        found[one].append(several)
    return dict(found)


_NEIGHBOURS = _neighbouring_keys()
_CONFUSIONS = _confusions()


def _draw_letter(text: str, place: int, random: Random) -> str:
    """Draws a letter to misspell with: any of an alphabet that is known, else another one of the text."""
    if text[place].isascii():
        return random.choice(ascii_lowercase)
    if _HAN.match(text[place]):
        return random.choice(_common_characters())
    if not text[place].isalpha():
        return random.choice([one for one in text if not one.isspace()])
    return random.choice([one for one in text if one.isalpha() and one != text[place]] or text[place])


def _substitute(text: str, place: int, random: Random) -> Edit:
    return _draw_letter(text, place, random), 1


def _insert(text: str, place: int, random: Random) -> Edit:
    return text[place] + _draw_letter(text, place, random), 1


def _delete(text: str, place: int, random: Random) -> Edit:
    return "", 1


def _swap(text: str, place: int, random: Random) -> Edit:
    following = text[place + 1 : place + 2]
    return (following + text[place], 2) if following.strip() and following != text[place] else None


def _misspell(text: str, place: int, random: Random) -> Edit:
    error: Editor = random.choice((_substitute, _insert, _delete, _swap))
    return error(text, place, random) or _substitute(text, place, random)


def _change_case(text: str, place: int, random: Random) -> Edit:
    changed = text[place].swapcase()
    return (changed, 1) if changed != text[place] else None


def _slip(text: str, place: int, random: Random) -> Edit:
    keys = _NEIGHBOURS.get(text[place].lower())
    if keys is None:
        return None
    key = random.choice(keys)
    return (key.upper() if text[place].isupper() else key), 1


def _mishear(text: str, place: int, random: Random) -> Edit:
    others = find_homophones().get(text[place]) if _HAN.match(text[place]) else None
    return (random.choice(others), 1) if others else None


def _misread(text: str, place: int, random: Random) -> Edit:
    for length in (2, 1):
        signs = _CONFUSIONS.get(text[place : place + length])
        if signs is not None:
            return random.choice(signs), length
    return None


_EDITORS: dict[str, Editor] = {
    "typo": _misspell,
    "swap": _swap,
    "delete": _delete,
    "case": _change_case,
    "keyboard": _slip,
    "homophone": _mishear,
    "ocr": _misread,
}
KINDS = (*_EDITORS, "token", MIXED)
