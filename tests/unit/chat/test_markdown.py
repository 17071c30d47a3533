"""A hundred ways to run something out of a message, none of which survives the rendering."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from payloads import PAYLOADS

from workbench.chat.markdown import ATTRIBUTES, LONGEST, TAGS, html_of


class Allowed(HTMLParser):
    """Fails at a tag or attribute that is not on the list, or a link that is no link."""

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert tag in TAGS, tag
        for name, value in attributes:
            assert name in ATTRIBUTES.get(tag, set()) | ({"rel"} if tag == "a" else set()), (tag, name)
            if name == "href":
                assert value.startswith(("http://", "https://", "mailto:", "/", "#", ".")) or ":" not in value, value


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_could_run_or_load_is_left(payload: str) -> None:
    for text in (payload, f"```html\n{payload}\n```", f"| a |\n|---|\n| {payload} |", f"> {payload}", f"**{payload}**"):
        Allowed().feed(html_of(text))


def test_there_are_a_hundred_payloads() -> None:
    assert len(set(PAYLOADS)) >= 100


def test_what_markdown_is_for_is_kept() -> None:
    html = html_of("# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\ndef f(): pass\n```\n\n1. x\n\n~~y~~ <b>z</b>")
    for part in ("<h1>T</h1>", "<table>", "<td>1</td>", '<span class="wb-code-k">def</span>', "<ol>", "<s>y</s>"):
        assert part in html
    assert "&lt;b&gt;z&lt;/b&gt;" in html


def test_a_picture_is_a_link_and_is_not_loaded() -> None:
    html = html_of("![a cat](https://example.org/cat.png)")
    assert "<img" not in html
    assert 'href="https://example.org/cat.png"' in html
    assert ">a cat</a>" in html


def test_code_of_no_known_language_and_very_long_texts_are_shown_as_they_are() -> None:
    assert "x &lt; y" in html_of("```nonsense\nx < y\n```")
    assert html_of("<" * (LONGEST + 1)).startswith("<pre>&lt;")
