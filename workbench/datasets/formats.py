"""Which reader fits an uploaded file; a file that is not what its name says is refused here."""

from collections.abc import Callable
from pathlib import PurePath

from workbench.datasets.delimited import Delimited
from workbench.datasets.encoding import SourceFile
from workbench.datasets.jsonlines import JSONLines, json_reader
from workbench.datasets.parquet import Parquet
from workbench.datasets.reader import Reader
from workbench.datasets.workbook import Workbook

READERS: dict[str, Callable[[SourceFile], Reader]] = {
    ".csv": Delimited,
    ".tsv": Delimited,
    ".json": json_reader,
    ".jsonl": JSONLines,
    ".ndjson": JSONLines,
    ".parquet": Parquet,
    ".xlsx": Workbook,
}
BINARY = {".parquet": "a Parquet file", ".xlsx": "a ZIP archive or an Excel workbook"}
ARTICLES = {
    ".csv": "a CSV file",
    ".tsv": "a TSV file",
    ".json": "a JSON file",
    ".parquet": "a Parquet file",
    ".xlsx": "an Excel workbook",
}
SIGNATURES = (
    (b"PAR1", "a Parquet file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3\0", "a SQLite database"),
)
SIGNATURE_BYTES = 16


def open_reader(file: SourceFile) -> Reader:
    """Return the reader for a file's ending; refuse a file that is empty or not what its name says."""
    ending = PurePath(file.name).suffix.lower()
    if ending not in READERS:
        raise file.refuse(f"has none of the endings {', '.join(READERS)}; convert it to one of these formats")
    _check_content(file, ending)
    return READERS[ending](file)


def _check_content(file: SourceFile, ending: str) -> None:
    with file.path.open("rb") as content:
        head = content.read(SIGNATURE_BYTES)
    if not head:
        raise file.refuse("is empty")
    found = next((words for signature, words in SIGNATURES if head.startswith(signature)), "a text file")
    if found != BINARY.get(ending, "a text file"):
        shown = "something else" if ending in BINARY and found == "a text file" else found
        raise file.refuse(f"is not {ARTICLES.get(ending, 'a JSON Lines file')}, as its name says, but {shown}")
