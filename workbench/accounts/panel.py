"""The account and admin pages inside a notebook.

They are the main server's own pages in a frame: the browser's login acts there, so that no kernel ever holds the right
to change an account.
"""

from __future__ import annotations

import html
from typing import Literal
from urllib.parse import urlsplit

import ipywidgets

from workbench.accounts import routes
from workbench.core.http import HTTP
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.heading import Heading

HEIGHT = "44rem"


class PagePanel(ipywidgets.VBox):  # type: ignore[misc]
    """Shows one of the server's pages; among the dashboards, which are another origin, it says where the page is."""

    def __init__(self, http: HTTP, page: Literal["account", "admin"], *, language: Language | None = None) -> None:
        self.language = language or preferred_language()
        title = text(f"pages.{page}_title", self.language)
        if http.call(routes.current).holder == "dashboard":
            super().__init__([Heading(self.language, title=title, note=text("account.elsewhere", self.language))])
            return
        path = f"{urlsplit(http.url).path.rstrip('/')}/workbench/{page}"
        frame = (
            f'<iframe src="{html.escape(path)}" title="{html.escape(title)}"'
            f' style="width:100%;height:{HEIGHT};border:1px solid var(--jp-border-color2)"></iframe>'
        )
        super().__init__([ipywidgets.HTML(frame)])
        self.add_class("wb-panel")
