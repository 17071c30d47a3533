from __future__ import annotations

import pytest

from workbench.datasets.encoding import detect, label, text_lines
from workbench.datasets.errors import FileRefused

from .conftest import Write

GERMAN = "Frage,Antwort\nWie heißt der Fluss in Köln?,Es ist der Rhein – natürlich.\nGrüße,Schöne Grüße zurück\n" * 20
CHINESE = "问题,答案\n你叫什么名字?,我的名字是小明。\n今天天气怎么样?,今天天气很好。\n" * 20
ASCII = "question,answer\nWhat is 2?,It is 2.\n" * 5


@pytest.mark.parametrize(
    ("text", "codec", "found"),
    [
        (ASCII, "ascii", "utf-8"),
        (GERMAN, "utf-8", "utf-8"),
        (CHINESE, "utf-8", "utf-8"),
        (GERMAN, "utf-8-sig", "utf-8-sig"),
        (GERMAN, "utf-16", "utf-16"),
        (GERMAN, "utf-32", "utf-32"),
        (ASCII, "utf-16-le", "utf-16-le"),
        (GERMAN, "utf-16-be", "utf-16-be"),
        (ASCII, "utf-32-le", "utf-32-le"),
        (ASCII, "utf-32-be", "utf-32-be"),
        (GERMAN, "cp1252", "windows-1252"),
        (CHINESE, "gb18030", "gb18030"),
    ],
)
def test_encodings_are_recognised(write: Write, text: str, codec: str, found: str) -> None:
    file = write("x.csv", text.encode(codec))
    assert detect(file) == found
    assert "".join(text_lines(file, found)) == text


def test_multi_byte_characters_across_blocks_are_no_damage(write: Write) -> None:
    file = write("x.csv", "a" + "é" * 1_100_000)
    assert detect(file) == "utf-8"


def test_one_bad_byte_in_utf8_is_reported_with_its_line(write: Write) -> None:
    lines = [f"Größe {n},weiß nicht".encode() for n in range(1, 900)]
    lines[700] = b"Gr\xf6\xdfe 701,x"
    with pytest.raises(FileRefused, match=r"^x\.csv line 701 is not valid UTF-8"):
        detect(write("x.csv", b"\n".join(lines)))


def test_a_bad_byte_after_a_byte_order_mark_is_reported(write: Write) -> None:
    with pytest.raises(FileRefused, match="line 2 is not valid UTF-8"):
        detect(write("x.csv", b"\xef\xbb\xbfa,b\n\xff,1\n"))


@pytest.mark.parametrize("content", [b"a,b\n\x00\xff\xfe\x00\x00\x01\x80\x00,1\n" * 9, bytes(range(256)) * 4])
def test_binary_data_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(FileRefused, match="holds binary data, not text"):
        detect(write("x.csv", content))


def test_a_nul_character_is_refused_with_its_line(write: Write) -> None:
    file = write("x.csv", "a,b\nfine,fine\nnot\0fine,x\n")
    with pytest.raises(FileRefused, match=r"^x\.csv line 3 holds a NUL character"):
        list(text_lines(file, detect(file)))


def test_text_that_breaks_its_own_mark_is_refused(write: Write) -> None:
    file = write("x.csv", "a,b\n".encode("utf-16") + b"\x00\xd8\x00\x00")
    with pytest.raises(FileRefused, match="is not valid UTF-16 after line"):
        list(text_lines(file, detect(file)))


def test_every_line_end_counts(write: Write) -> None:
    assert list(text_lines(write("x.csv", "a\nb\r\nc\rd"), "utf-8")) == ["a\n", "b\r\n", "c\r", "d"]


def test_labels_are_those_people_write() -> None:
    assert [label(codec) for codec in ("utf-8-sig", "windows-1252", "utf-16-le")] == [
        "UTF-8",
        "Windows-1252",
        "UTF-16-LE",
    ]
