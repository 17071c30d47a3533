from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from workbench.jobs.files import AttemptFolder, write_json


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path, "job_1", 2)
    folder.path.mkdir(parents=True)
    return folder


def test_an_attempt_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert AttemptFolder(tmp_path, "job_1", 2).path == tmp_path / "jobs" / "job_1" / "2"


def test_a_document_that_is_not_there_is_none(folder: AttemptFolder) -> None:
    assert folder.read("exit") is None
    write_json(folder.path / "exit.json", {"code": 0})
    assert folder.read("exit") == {"code": 0}


def test_lines_are_read_from_where_the_last_look_ended(folder: AttemptFolder) -> None:
    folder.metrics.write_bytes(b"one\ntwo\n")
    lines, offset = folder.lines(0)
    assert lines == [b"one", b"two"]
    with folder.metrics.open("ab") as file:
        file.write("drei, größer\n".encode())
    assert folder.lines(offset) == (["drei, größer".encode()], offset + 15)


def test_a_line_in_the_making_is_left_for_later(folder: AttemptFolder) -> None:
    folder.metrics.write_bytes(b"one\ntw")
    assert folder.lines(0) == ([b"one"], 4)
    assert folder.lines(4) == ([], 4)


def test_without_metrics_there_are_no_lines(folder: AttemptFolder) -> None:
    assert folder.lines(0) == ([], 0)


def test_a_reader_never_sees_half_a_document(folder: AttemptFolder) -> None:
    path, done = folder.path / "big.json", threading.Event()
    write_json(path, [0] * 20_000)

    def rewrite() -> None:
        for number in range(1, 30):
            write_json(path, [number] * 20_000)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert len(set(json.loads(path.read_text()))) == 1
    writer.join()
    assert [entry.name for entry in folder.path.iterdir()] == ["big.json"]


def test_a_secret_document_is_for_its_owner_only(folder: AttemptFolder) -> None:
    write_json(folder.command, {}, mode=0o600)
    assert folder.command.stat().st_mode & 0o777 == 0o600
