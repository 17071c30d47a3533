"""Which encoding a text file has, and its lines decoded.

The order: byte-order mark, strict UTF-8 over the whole file, the NUL pattern of UTF-16 and UTF-32, then statistics.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cchardet

from workbench.datasets.errors import FileRefused

BLOCK_BYTES = 1 << 20
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
NON_ASCII = re.compile(r"[^\x00-\x7f]")
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f]")


@dataclass(frozen=True)
class SourceFile:
    """A file to read, and the name its author gave it (the path may be that of an upload)."""

    path: Path
    name: str

    def refuse(self, reason: str) -> FileRefused:
        """Return the error that names this file."""
        return FileRefused(f"{self.name} {reason}.")


@dataclass
class _Survey:
    """What a file looks like when it is read as UTF-8."""

    has_nul: bool = False
    characters: int = 0  # beyond ASCII
    bad_bytes: int = 0
    bad_line: int = 0


def detect(file: SourceFile) -> str:
    """Return the Python codec of a text file; refuse binary data and damaged UTF-8."""
    head = _blocks(file.path, 1024).__next__()
    mark = next((codec for bytes_, codec in BYTE_ORDER_MARKS if head.startswith(bytes_)), None)
    if mark is not None and mark != "utf-8-sig":
        return mark
    survey = _survey(file.path)
    wide = _wide_codec(head) if survey.has_nul else None
    if wide is not None:
        return wide
    if not survey.bad_bytes:
        return mark or "utf-8"
    if survey.has_nul:
        raise file.refuse("holds binary data, not text")
    if mark or survey.characters > survey.bad_bytes:
        raise file.refuse(f"line {survey.bad_line} is not valid UTF-8, though the rest is; correct it or save it again")
    return _guess(file)


def text_lines(file: SourceFile, codec: str) -> Iterator[str]:
    r"""Yield the lines with their line ends; \n, \r and \r\n all end a line. Refuse NUL characters."""
    with file.path.open(encoding=codec, newline="") as lines:
        number = 0
        try:
            for number, line in enumerate(lines, 1):
                if "\0" in line:
                    raise file.refuse(f"line {number} holds a NUL character; remove it")
                yield line
        except UnicodeDecodeError as error:
            reason = f"is not valid {label(codec)} after line {number}; save it as UTF-8 and upload it again"
            raise file.refuse(reason) from error


def label(codec: str) -> str:
    """Return the name of a codec as people write it."""
    return codec.removesuffix("-sig").upper().replace("WINDOWS", "Windows")


def _blocks(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(size):
            yield block


def _survey(path: Path) -> _Survey:
    survey, line = _Survey(), 1
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for block in _ended(path):
        text = decoder.decode(block, final=not block)
        survey.has_nul |= "\0" in text
        if not text.isascii():
            _count(survey, text, line)
        line += text.count("\n")
    return survey


def _ended(path: Path) -> Iterator[bytes]:
    yield from _blocks(path)
    yield b""


def _count(survey: _Survey, text: str, line: int) -> None:
    bad = ESCAPED_BYTE.findall(text)
    if bad and not survey.bad_bytes:
        survey.bad_line = line + text[: text.index(bad[0])].count("\n")
    survey.bad_bytes += len(bad)
    survey.characters += len(NON_ASCII.findall(text)) - len(bad)


def _wide_codec(head: bytes) -> str | None:
    """Recognise UTF-16 and UTF-32 without a mark by where the NUL bytes of Latin text and line ends fall."""
    shares = [head[offset::4].count(0) / max(1, len(head[offset::4])) for offset in range(4)]
    high = [share > 0.5 for share in shares]
    patterns = {
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
    }
    return patterns.get((high[0], high[1], high[2], high[3]))


def _guess(file: SourceFile) -> str:
    detector = cchardet.UniversalDetector()
    for block in _blocks(file.path):
        detector.feed(block)
    detector.close()
    found = (detector.result["encoding"] or "").lower()
    try:
        codecs.lookup(found)
    except LookupError:
        raise file.refuse("has an encoding that cannot be told; save it as UTF-8 and upload it again") from None
    if any(CONTROL.search(block.decode("latin-1")) for block in _blocks(file.path)):
        raise file.refuse("holds binary data, not text")
    return found
