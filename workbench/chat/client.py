"""Conversations as a researcher holds them in a notebook."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from workbench.chat import routes
from workbench.chat.exporting import branch
from workbench.chat.markdown import html_of
from workbench.chat.schemas import (
    ChatEvent,
    ChatModel,
    ChatSettings,
    Conversation,
    ConversationCreate,
    ConversationsQuery,
    ConversationSummary,
    ConversationUpdate,
    DeltaEvent,
    EndedEvent,
    ExportQuery,
    Message,
    MessageCreate,
    SettingsUpdate,
)
from workbench.core.errors import Unavailable, invalid_input
from workbench.core.http import HTTP
from workbench.core.routes import Download
from workbench.serving.client import Deployment as ServedModel


class AnswerBroken(Unavailable):
    """The answer broke off; what there is of it is kept."""

    code = "chat.answer_broken"


@dataclass
class Chat:
    """A conversation with a model: `chat.say("…")` goes on with it, `chat.reply` is the last answer."""

    http: HTTP
    id: str
    #: What answers: a model's name and number such as `support@3`, or a deployment's id.
    model: str
    answer: Message | None = None

    @property
    def reply(self) -> str:
        """The last answer's text."""
        return self.answer.content if self.answer is not None else ""

    def say(self, text: str, *, show: bool = False, **settings: Any) -> Chat:
        """Say something and wait for the answer; `settings` are those of `ChatSettings`, for this answer alone.

        `show` prints the answer while it comes. Raises `AnswerBroken` when the engine dies in mid-answer.
        """
        for event in self.stream(text, **settings):
            if show and isinstance(event, DeltaEvent):
                sys.stdout.write(event.text)
        if self.answer is not None and self.answer.finish_reason == "error":
            raise AnswerBroken(self.answer.error)
        return self

    def stream(self, text: str | None, *, parent: str | None = None, **settings: Any) -> Iterator[ChatEvent]:
        """Say something and yield what comes; without a text, `parent` is answered once more."""
        follows = parent or (self.answer.id if self.answer is not None else None)
        given = {"model": self.model, "parent_id": follows, "content": text, "settings": settings}
        try:
            body = MessageCreate.model_validate(given)
        except ValidationError as error:
            raise invalid_input(error, "the message") from error
        for event in self.http.events(routes.say, body=body, conversation_id=self.id):
            if isinstance(event, EndedEvent):
                self.answer = event.answer
            yield event

    def conversation(self) -> Conversation:
        """Return the conversation with all its messages."""
        return self.http.call(routes.show, conversation_id=self.id)

    def export(self, form: str = "markdown") -> Download:
        """Return the conversation as a file, `markdown` or `json`."""
        query = ExportQuery.model_validate({"format": form})
        return self.http.download(routes.export, conversation_id=self.id, query=query)

    def __repr__(self) -> str:
        return f"<Chat {self.id} with {self.model}>"

    def __str__(self) -> str:
        return self.reply

    def _repr_html_(self) -> str:
        said = branch(self.conversation().messages, self.answer.id if self.answer is not None else None)
        return "".join(f"<b>{message.role}</b>{html_of(message.content)}" for message in said)


class Deployment(ServedModel):
    """A deployed model that one can talk to."""

    def chat(self, text: str, **settings: Any) -> Chat:
        """Wait until the model is ready, say something in a new conversation, and return the conversation."""
        self.wait()
        created = self.http.call(routes.create, body=ConversationCreate(), idempotency_key=uuid.uuid4().hex)
        return Chat(self.http, created.id, self.id).say(text, **settings)


class Chats:
    """`wb.chats`: one's own conversations, and the models to have them with."""

    def __init__(self, http: HTTP) -> None:
        self._http = http

    def models(self) -> Sequence[ChatModel]:
        """Return the deployed models with one's settings."""
        return self._http.call(routes.models).items

    def configure(self, model: str, **settings: Any) -> ChatSettings:
        """Keep settings of a model: temperature, max_tokens, top_p …; None takes one back."""
        try:
            body = SettingsUpdate.model_validate({"model": model, **settings})
        except ValidationError as error:
            raise invalid_input(error, "the settings") from error
        # only what was named: a client that leaves a field out keeps it
        return self._http.call(routes.change_settings, body=body).settings

    def list(self, search: str | None = None, limit: int = 50) -> Sequence[ConversationSummary]:
        """Return conversations, the last used first."""
        return self._http.call(routes.listing, query=ConversationsQuery(search=search or None, limit=limit)).items

    def begin(self, title: str | None = None, messages: Sequence[dict[str, str]] = ()) -> Conversation:
        """Begin a conversation, or bring one along."""
        body = ConversationCreate.model_validate({"title": title, "messages": list(messages)})
        return self._http.call(routes.create, body=body, idempotency_key=uuid.uuid4().hex)

    def open(self, conversation_id: str, model: str) -> Chat:
        """Go on with a conversation."""
        conversation = self._http.call(routes.show, conversation_id=conversation_id)
        answers = [message for message in conversation.messages if message.role == "assistant"]
        return Chat(self._http, conversation_id, model, answers[-1] if answers else None)

    def rename(self, conversation_id: str, title: str) -> ConversationSummary:
        """Give a conversation another title."""
        body = ConversationUpdate(title=title)
        return self._http.call(routes.rename, conversation_id=conversation_id, body=body)

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with all its messages."""
        self._http.call(routes.remove, conversation_id=conversation_id)
