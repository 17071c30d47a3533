"""Markdown as HTML that is safe wherever it is shown: no script, no style, nothing that is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "em", "strong", "s", "del", "blockquote"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "span", "a"),
}
ATTRIBUTES = {"a": {"href", "title"}, "span": {"class"}, "code": {"class"}, "ol": {"start"}, "td": {"align"}}
SCHEMES = {"http", "https", "mailto"}
LONGEST = 200_000  # characters; a longer text is shown as it is


def html_of(text: str) -> str:
    """Render Markdown with tables and highlighted code; HTML in it is shown as text, and a picture as a link to it."""
    if len(text) > LONGEST:
        return f"<pre>{escape(text)}</pre>"
    rendered = _parser().render(text)
    return nh3.clean(rendered, tags=TAGS, attributes=ATTRIBUTES, url_schemes=SCHEMES, link_rel="noopener noreferrer")


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _linked_image)
    return parser


def _highlighted(code: str, language: str, attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="wb-code-")))


def _linked_image(renderer: Any, tokens: Any, place: int, options: Any, environment: Any) -> str:
    token = tokens[place]
    name = renderer.renderInlineAsText(token.children or [], options, environment) or "image"
    return f'<a href="{escape(str(token.attrs.get("src", "")))}">{escape(name)}</a>'
