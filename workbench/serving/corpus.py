"""Texts that tell tokenizers apart: what differs between pre-tokenizers lies in digits, spaces, marks and newlines."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

SIZE = 10_000
HAND_PICKED = (
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    " \n \t\n",
    "Hello World",
    " Hello, y'all! How are you 😁 ?我想在apple工作1314151天～",
    "I'LL we'll IT'S it's DON'T",
    "3 33 333 3333 33333 333333 3333333 1.25e-7 0x1F 1,000,000",
    "!!!\n\n... ?!\n",
    "a\u00a0b\u00a0\u00a0c",
    "日本語テキスト、漢字かな交じり文。",
    "한국어 문장 하나",
    "עברית ועוד",
    "مرحبا بالعالم ١٢٣",
    "ไทยไม่มีช่องว่าง",
    "🚀 👩🏽‍🚀 🇩🇪 (family 👨‍👩‍👧‍👦)",
    "def f(x):\n    return x ** 2  # squared\n\n\n\tpass\r\n",
    "<html lang='en'>&nbsp;</html>",
    "https://example.org/a?b=c&d=%20#e",
    "ﬁ ½ ² ⅷ Ⅳ ①",
    "e\u0301 n\u0303",
    "x" * 300,
    " " * 200,
    '{"a": [1, 2.5, null], "b": "\\u00e9"}',
)
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ABC .,!?'",
    "0123456789 .,-+/:",
    " \n\t\r",
    "的一是不了人我在有他这中大来上国，。！？《》“”",
    "あいうえおカキクケコ漢字、。ー",
    "가나다라마바사 아자차",
    "абвгдежз ИЙК ёъ",
    "αβγ ΔΕΖ άέ",
    "ابتثج ١٢٣",
    "😀😁👍🏽🚀❤️‍🔥🇫🇷",
    "{}[]()<>=+-*/%&|^~!;:#@$_\\\"'` \n    if else return 01",
    "éèüßñçøåłşž ÀÉÎ",
    "½²³⅓ⅷ①㊗️ ﬁ",
    "ab AB12 .,!?'\n\t-_éд中😀\r\u00a0",
)


def corpus(size: int = SIZE, seed: int = 0) -> Iterator[str]:
    """Yield `size` texts, the same ones for the same seed, in the normal form NFC.

    Tokenizers that normalise bring texts into that form, and what is served are the ids that they then give.
    """
    chosen = random.Random(seed)  # noqa: S311 - texts, not secrets
    for place in range(size):
        text = HAND_PICKED[place] if place < len(HAND_PICKED) else _random_text(chosen)
        yield unicodedata.normalize("NFC", text)


def _random_text(chosen: random.Random) -> str:
    alphabets = chosen.sample(ALPHABETS, chosen.randint(1, 3))
    pieces = [
        "".join(chosen.choice(alphabet) for _ in range(chosen.randint(1, 12)))
        for alphabet in chosen.choices(alphabets, k=chosen.randint(1, 5))
    ]
    return chosen.choice(("", " ", "\n")).join(pieces)
