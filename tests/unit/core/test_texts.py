"""Both languages say the same things."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import workbench
from workbench.core.errors import WorkbenchError
from workbench.core.texts import LANGUAGES, Language, catalogue, explain, meanings, preferred_language, text
from workbench.core.widgets.element import FOLDER, words

PLACEHOLDER = re.compile(r"\{(\w*)\}")


def test_languages_have_the_same_keys() -> None:
    keys = [set(catalogue(language)) for language in LANGUAGES]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("key", sorted(catalogue("en")))
def test_translations_have_the_same_placeholders(key: str) -> None:
    found = [sorted(PLACEHOLDER.findall(catalogue(language)[key])) for language in LANGUAGES]
    assert found[0] == found[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_plain_names_so_that_the_browser_can_fill_them_too(language: Language) -> None:
    for content in catalogue(language).values():
        assert not set("{}") & set(PLACEHOLDER.sub("", content)), content


def test_chinese_texts_are_chinese() -> None:
    same = {key for key, content in catalogue("zh-CN").items() if content == catalogue("en")[key]}
    assert same <= {
        "pages.home_title",
        "pages.lab_link",
        "watch.run",
        "eval.p_value",
        "eval.name_chrf",
        "eval.name_rouge_l",
        "eval.figures",
        "eval.option_alone",
    }


def codes(kind: type[WorkbenchError]) -> set[str]:
    below: set[str] = set().union(*(codes(each) for each in kind.__subclasses__()))
    return below | ({kind.code} if kind.__module__.startswith("workbench.") else set())


def test_every_error_code_has_a_chinese_meaning() -> None:
    for module in pkgutil.walk_packages(workbench.__path__, "workbench."):
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert codes(WorkbenchError) - meanings().keys() == set()


def test_an_error_is_explained_in_the_readers_language() -> None:
    told = ("dataset.not_found", 'There is no dataset named "x".')
    assert explain(*told, "en") == told[1]
    assert explain(*told, "zh-CN") == '没有这个数据集。（There is no dataset named "x".）'
    assert explain("of.a.newer.server", "Not today.", "zh-CN") == "Not today."
    assert explain(None, "Not today.", "zh-CN") == "Not today."


def test_text_fills_placeholders_in() -> None:
    assert text("drop.working", "en", file="a.csv") == "Reading a.csv …"
    assert text("drop.working", "zh-CN", file="a.csv") == "正在读取 a.csv …"


@pytest.mark.parametrize(
    ("wish", "language"), [("en", "en"), ("zh-CN", "zh-CN"), ("zh_TW.UTF-8", "zh-CN"), ("de", "en")]
)
def test_the_environment_chooses_the_language(wish: str, language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LANGUAGE", wish)
    assert preferred_language() == language


def test_every_word_that_a_module_asks_for_exists() -> None:
    sections = re.compile(r'section = "(\w+)"')
    for path in FOLDER.glob("*.py"):
        section = sections.search(path.read_text("utf8"))
        module = path.with_suffix(".js")
        if section is not None and module.exists():
            asked = set(re.findall(r"\bwords\.(\w+)", module.read_text("utf8")))
            assert asked <= set(words(section[1], "en")), path.name


def test_every_text_that_python_names_exists() -> None:
    source = "\n".join(path.read_text("utf8") for path in Path(workbench.__file__).parent.rglob("panel.py"))
    named = set(re.findall(r'\btext\("([\w.]+)"', source)) | set(re.findall(r'_text\("(\w+\.\w+)"', source))
    assert named
    assert named <= set(catalogue("en"))
