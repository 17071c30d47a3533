"""The chat panel: deploy a model, talk to it, and find everything as it was left."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workbench.chat import thread as threads
from workbench.chat.client import Chat, Chats
from workbench.chat.markdown import html_of
from workbench.chat.schemas import ChatModel, ChatSettings, DeltaEvent, Message, StartedEvent
from workbench.core.errors import WorkbenchError
from workbench.core.http import HTTP
from workbench.core.texts import Language, preferred_language, text
from workbench.core.widgets.chat_view import ChatView
from workbench.core.widgets.heading import Heading
from workbench.core.widgets.live_panel import LivePanel
from workbench.serving.client import Deployments

LOOKS_PER_OFFER = 8  # looks at the deployments between two at the models that could be deployed
DRAW_INTERVAL = 0.08  # seconds between two drawings of an answer that comes
FIELDS = ("temperature", "max_tokens", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "system")
#: Fields whose plain name is the text of a button or a speaker.
LABELS = {"stop": "stop_strings", "system": "system_prompt"}


class ChatPanel(LivePanel):
    """Conversations with deployed models; `versions()` names what can be deployed, `deploy(id)` does it."""

    def __init__(
        self,
        http: HTTP,
        *,
        versions: Callable[[], Sequence[tuple[str, str]]],
        deploy: Callable[[str], object],
        can_deploy: bool = True,
        language: Language | None = None,
    ) -> None:
        self.language = language or preferred_language()
        self._http = http
        self._chats = Chats(http)
        self._deployments = Deployments(http)
        self._versions = versions if can_deploy else lambda: ()
        self._start = deploy
        self._search = ""
        self._known: dict[str, ChatModel] = {}
        self._tip: str | None = None
        self._all: list[Message] = []
        self._answering: Iterator[Any] | None = None
        self._stopping = threading.Event()
        self._looks = itertools.count()
        actions = {name: self._guarded(getattr(self, f"_{name}")) for name in ChatView.ACTIONS}
        self.view = ChatView(actions, language=self.language)
        self.view.fields = [self._field(name) for name in FIELDS]
        super().__init__(Heading(self.language, title=self._text("title")), self.view)
        self._guarded(lambda message: self._begin())({})
        self.keep_fresh()

    def close(self) -> None:
        """Stop listening and remove the widgets; deployments and conversations stay."""
        self._stopping.set()
        super().close()

    def refresh(self) -> None:
        """Ask the server which models answer and, at every eighth look, which could."""
        found = list(self._chats.models())
        self._known = {model.deployment.id: model for model in found}
        self.view.models = [self._model(model) for model in found]
        if self.view.model not in self._known:
            self.view.model = found[0].deployment.id if found else ""
            self._show_settings()
        if next(self._looks) % LOOKS_PER_OFFER == 0:
            self.view.deployable = [list(pair) for pair in self._versions()]

    def _begin(self) -> None:
        self.refresh()
        self._show_settings()
        self._list()
        if self.view.conversations:
            self._open({"id": self.view.conversations[0]["id"]})

    def _guarded(self, action: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def guarded(message: dict[str, Any]) -> None:
            self.view.notice = ""
            try:
                action(message)
            except WorkbenchError as error:
                self.view.notice = self.view.explained(error)

        return guarded

    # what the browser asks for

    def _say(self, message: dict[str, Any]) -> None:
        self._ask(str(message["text"]), self._tip)

    def _again(self, message: dict[str, Any]) -> None:
        self._ask(None, threads.find(self._all, str(message["id"])).parent_id)

    def _edit(self, message: dict[str, Any]) -> None:
        self._ask(str(message["text"]), threads.find(self._all, str(message["id"])).parent_id)

    def _turn(self, message: dict[str, Any]) -> None:
        self._tip = threads.beside(self._all, str(message["id"]), int(message["step"]))
        self._draw()

    def _stop(self, message: dict[str, Any]) -> None:
        self._stopping.set()

    def _open(self, message: dict[str, Any]) -> None:
        conversation = self._chats.open(str(message["id"]), "").conversation()
        self.view.conversation = conversation.id
        self._all, self._tip = list(conversation.messages), None
        self._draw()

    def _fresh(self, message: dict[str, Any]) -> None:
        self.view.conversation, self._all, self._tip = "", [], None
        self._draw()

    def _remove(self, message: dict[str, Any]) -> None:
        self._chats.delete(str(message["id"]))
        if self.view.conversation == message["id"]:
            self._fresh({})
        self._list()

    def _find(self, message: dict[str, Any]) -> None:
        self._search = str(message["text"])[:200]
        self._list()

    def _use(self, message: dict[str, Any]) -> None:
        if message["model"] in self._known:
            self.view.model = str(message["model"])
            self._show_settings()
            self._draw()

    def _end(self, message: dict[str, Any]) -> None:
        self._deployments[str(message["model"])].stop()
        self.refresh()

    def _deploy(self, message: dict[str, Any]) -> None:
        self._start(str(message["version"]))
        self.refresh()
        if self.view.models:
            self._use({"model": self.view.models[0]["id"]})

    def _configure(self, message: dict[str, Any]) -> None:
        name, value = str(message["name"]), str(message["value"])
        if name not in FIELDS or not self.view.model:
            return
        try:
            typed = threads.typed(name, value)
            settings = self._chats.configure(self.view.model, **{name: typed})
        except ValueError:
            self.view.errors = {name: self._text("not_a_number")}
            return
        except WorkbenchError as error:
            problems = error.problem().errors
            self.view.errors = {name: problems[0].message if problems else self.view.explained(error)}
            return
        self.view.errors = {}
        self._known[self.view.model] = self._known[self.view.model].model_copy(update={"settings": settings})
        self._show_settings()
        self._draw()

    def _export(self, message: dict[str, Any]) -> None:
        self.view.save(self._chats.open(self.view.conversation, "").export(str(message["format"])))

    # the answer

    def _ask(self, said: str | None, parent: str | None) -> None:
        if self.view.busy or not self.view.model:
            return
        if not self.view.conversation:
            self.view.conversation = self._chats.begin().id
        self._stopping.clear()
        self.view.busy = True
        chat = Chat(self._http, self.view.conversation, self.view.model)
        stream = chat.stream(said, parent=parent)
        threading.Thread(target=self._answer, args=(stream,), name="answer", daemon=True).start()

    def _answer(self, stream: Iterator[Any]) -> None:
        answer: Message | None = None
        told, drawn = "", 0.0
        try:
            for event in stream:
                if isinstance(event, StartedEvent):
                    answer = event.answer
                    self._all += [message for message in (event.question, answer) if message is not None]
                    self._tip = answer.id
                    self._draw(without=answer.id)
                    self.view.answer = self._live(answer, "")
                elif isinstance(event, DeltaEvent):
                    told += event.text
                    # drawing takes longer the longer the text is, and must not take all of the time
                    if answer is not None and time.monotonic() - drawn > DRAW_INTERVAL * (1 + len(told) / 4000):
                        self.view.answer = self._live(answer, told)
                        drawn = time.monotonic()
                if self._stopping.is_set():
                    break
        except WorkbenchError as error:
            self.view.notice = self.view.explained(error)
        finally:
            stream.close()  # type: ignore[attr-defined]
            self._settle()

    def _settle(self) -> None:
        """Show what the server has kept."""
        try:
            conversation = self._chats.open(self.view.conversation, "").conversation()
            deadline = time.monotonic() + 3
            while threads.is_open(conversation.messages) and time.monotonic() < deadline:
                time.sleep(0.05)  # a stopped answer is kept a moment after its stream was closed
                conversation = self._chats.open(self.view.conversation, "").conversation()
            self._all = list(conversation.messages)
            self._list()
        except WorkbenchError as error:
            self.view.notice = self.view.explained(error)
        self.view.answer = {}
        self._draw()
        self.view.busy = False

    # what is shown

    def _draw(self, without: str | None = None) -> None:
        shown = threads.branch(self._all, self._tip)
        self._tip = shown[-1].id if shown else None
        self.view.messages = [self._message(message) for message in shown if message.id != without]
        model = self._known.get(self.view.model)
        self.view.snippet = threads.snippet(shown, model, self._http.url) if model is not None else ""

    def _message(self, message: Message) -> dict[str, Any]:
        place, count = threads.place(self._all, message)
        ends = message.finish_reason if message.finish_reason not in (None, "stop") else None
        trouble = self._text(f"finish_{ends}") if ends else ""
        if message.left_out:
            trouble = f"{trouble} {self._text('left_out', count=message.left_out)}".strip()
        return {
            "id": message.id,
            "role": message.role,
            "html": html_of(message.content),
            "text": message.content if message.role == "user" else "",
            "meta": self._meta(message),
            "trouble": trouble,
            "place": place,
            "count": count,
        }

    def _meta(self, message: Message) -> str:
        if message.model is None or message.completion_tokens is None:
            return message.model or ""
        parts = [message.model, self._text("prompt_tokens", count=f"{message.prompt_tokens:,}")]
        parts.append(self._text("tokens", count=f"{message.completion_tokens:,}"))
        if message.first_token_seconds is not None:
            parts.append(self._text("first", milliseconds=f"{message.first_token_seconds * 1000:,.0f}"))
        if message.seconds:
            parts.append(self._text("speed", rate=f"{message.completion_tokens / message.seconds:,.0f}"))
        if message.settings is not None and message.settings.temperature is not None:
            parts.append(self._text("at_temperature", value=f"{message.settings.temperature:g}"))
        return " · ".join(parts)

    def _live(self, answer: Message, told: str) -> dict[str, Any]:
        html = html_of(told) if told else ""
        meta = answer.model or ""
        return {"id": answer.id, "role": "assistant", "html": html, "meta": meta, "count": 1, "place": 1}

    def _list(self) -> None:
        found = self._chats.list(self._search)
        self.view.conversations = [
            {"id": each.id, "title": each.title, "time": each.updated_at.isoformat()} for each in found
        ]

    def _model(self, model: ChatModel) -> dict[str, Any]:
        record = model.deployment
        note = self._text(f"phase_{record.phase}")
        if record.fraction is not None and record.phase == "converting":
            note = f"{note} {record.fraction:.0%}"
        told = record.detail or (record.fallback_reason if record.engine == "transformers" else None)
        note = f"{note} · {record.engine}" if record.engine is not None else note
        note = f"{note} · {told}" if told else note
        return {"id": record.id, "label": model.id, "ready": record.phase == "ready", "note": note}

    def _show_settings(self) -> None:
        model = self._known.get(self.view.model)
        settings = model.settings if model is not None else ChatSettings()
        defaults = model.defaults if model is not None else ChatSettings()
        self.view.values = threads.shown(settings, FIELDS)
        self.view.fields = [self._field(name, threads.shown(defaults, (name,)).get(name)) for name in FIELDS]

    def _field(self, name: str, default: str | None = None) -> dict[str, Any]:
        return {
            "name": name,
            "label": self._text(LABELS.get(name, name)),
            "help": self._text(f"{name}_help"),
            "placeholder": default or threads.DEFAULTS.get(name, ""),
            "long": name == "system",
            "words": name in ("system", "stop"),
        }

    def _text(self, key: str, **values: object) -> str:
        return text(f"chat.{key}", self.language, **values)
