"""Conversations, their messages and the settings of models. Never commits; one sees only one's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from workbench.chat import prompt, schemas
from workbench.chat.journal import Journal
from workbench.chat.tables import ChatMessage, Conversation, ModelSettings
from workbench.core.clock import utcnow
from workbench.core.context import Context
from workbench.core.errors import Invalid, NotFound
from workbench.core.ids import new_id
from workbench.core.schemas import Page
from workbench.core.settings import Settings
from workbench.serving import service as serving
from workbench.serving.engines import Message
from workbench.serving.schemas import Deployment, DeploymentsQuery

TITLE_LENGTH = 60
UNTITLED = "…"


class ConversationNotFound(NotFound):
    """You have no such conversation."""

    code = "conversation.not_found"


class MessageNotFound(NotFound):
    """The conversation has no such message."""

    code = "conversation.message_not_found"


class NothingToAnswer(Invalid):
    """Only what a person has written can be answered."""

    code = "conversation.nothing_to_answer"


def models(context: Context) -> schemas.ChatModels:
    """Return every live deployment with the caller's settings."""
    live = serving.listing(context, DeploymentsQuery(live=True, limit=200)).items
    return schemas.ChatModels(items=[_model(context, deployment) for deployment in live])


def model(context: Context, name: str) -> schemas.ChatModel:
    """Return the live deployment that answers for a name."""
    return _model(context, serving.served(context, name))


def change_settings(context: Context, change: schemas.SettingsUpdate) -> schemas.ChatModel:
    """Keep the caller's settings of a model."""
    deployment = serving.served(context, change.model)
    given = change.model_dump(include=change.model_fields_set - {"model"})
    row = context.session.get(ModelSettings, (context.user.id, deployment.version_id))
    if row is None:
        row = ModelSettings(owner_id=context.user.id, version_id=deployment.version_id, values={})
        context.session.add(row)
    values = {**row.values, **given}
    row.values, row.updated_at = {name: value for name, value in values.items() if value is not None}, utcnow()
    context.session.flush()
    return _model(context, deployment)


def settings_in_force(context: Context, deployment: Deployment, wanted: schemas.ChatSettings) -> schemas.ChatSettings:
    """Return the request's settings, completed by the caller's own and the model's."""
    saved, defaults = _saved(context, deployment.version_id), _defaults(context, deployment)
    return prompt.settled(wanted, saved, defaults)


def listing(context: Context, query: schemas.ConversationsQuery) -> Page[schemas.ConversationSummary]:
    """Return the caller's conversations, the last used first."""
    order = (Conversation.updated_at.desc(), Conversation.id.desc())
    statement = select(Conversation).where(_own(context)).order_by(*order)
    if query.search:
        found = select(ChatMessage.conversation_id).where(ChatMessage.content.icontains(query.search, autoescape=True))
        title = Conversation.title.icontains(query.search, autoescape=True)
        statement = statement.where(or_(title, Conversation.id.in_(found)))
    if query.cursor is not None:
        last = _find(context, query.cursor)
        same = (Conversation.updated_at == last.updated_at) & (Conversation.id < last.id)
        statement = statement.where((Conversation.updated_at < last.updated_at) | same)
    rows = context.session.scalars(statement.limit(query.limit + 1)).all()
    items = [_summary(row) for row in rows[: query.limit]]
    return Page(items=items, next_cursor=items[-1].id if len(rows) > query.limit else None)


def create(context: Context, wanted: schemas.ConversationCreate) -> schemas.Conversation:
    """Begin a conversation, with the messages that were brought along in a row."""
    first = next((message.content for message in wanted.messages if message.role == "user"), "")
    row = Conversation(
        id=new_id("conv"), owner_id=context.user.id, title=wanted.title or _title(first), created_at=utcnow()
    )
    row.updated_at = row.created_at
    context.session.add(row)
    context.session.flush()
    parent: str | None = None
    for message in wanted.messages:
        finish = "stop" if message.role == "assistant" else None
        parent = _add(context, row, message.role, message.content, parent, finish_reason=finish).id
    return show(context, row.id)


def show(context: Context, conversation_id: str) -> schemas.Conversation:
    """Return a conversation with every message; of an answer that is being written, what there is of it."""
    row = _find(context, conversation_id)
    found = select(ChatMessage).where(ChatMessage.conversation_id == row.id).order_by(ChatMessage.id)
    messages = [record(context.settings, message) for message in context.session.scalars(found)]
    return schemas.Conversation(**_summary(row).model_dump(), messages=messages)


def rename(context: Context, conversation_id: str, change: schemas.ConversationUpdate) -> schemas.ConversationSummary:
    """Give a conversation another title."""
    row = _find(context, conversation_id)
    row.title = change.title
    context.session.flush()
    return _summary(row)


def remove(context: Context, conversation_id: str) -> None:
    """Delete a conversation with all its messages."""
    row = _find(context, conversation_id)
    messages = ChatMessage.conversation_id == row.id
    context.session.execute(update(ChatMessage).where(messages).values(parent_id=None))
    context.session.execute(delete(ChatMessage).where(messages))
    context.session.delete(row)


def path(context: Context, conversation_id: str, wanted: schemas.MessageCreate) -> list[Message]:
    """Return the messages from the first to the one that shall be answered."""
    row = _find(context, conversation_id)
    messages: list[Message] = []
    if wanted.content is not None:
        messages.append({"role": "user", "content": wanted.content})
    message = _message(context, row, wanted.parent_id) if wanted.parent_id is not None else None
    if wanted.content is None and (message is None or message.role != "user"):
        raise NothingToAnswer(
            "Only a message that a person has written can be answered once more; name it as parent_id."
        )
    while message is not None:
        messages.append({"role": message.role, "content": record(context.settings, message).content})
        message = _message(context, row, message.parent_id) if message.parent_id is not None else None
    return messages[::-1]


def begin(
    context: Context,
    conversation_id: str,
    wanted: schemas.MessageCreate,
    deployment: Deployment,
    settings: schemas.ChatSettings,
) -> schemas.StartedEvent:
    """Keep what was said, and open the answer to it."""
    row = _find(context, conversation_id)
    parent, question = wanted.parent_id, None
    if wanted.content is not None:
        question = _add(context, row, "user", wanted.content, parent)
        parent = question.id
        if row.title == UNTITLED:
            row.title = _title(wanted.content)
    answer = _add(
        context,
        row,
        "assistant",
        "",
        parent,
        model=deployment.model,
        version_id=deployment.version_id,
        settings=settings.model_dump(exclude_none=True),
    )
    row.model, row.updated_at = deployment.model, utcnow()
    context.session.flush()
    said = record(context.settings, question) if question is not None else None
    return schemas.StartedEvent(question=said, answer=record(context.settings, answer))


def end(context: Context, message_id: str, **values: Any) -> schemas.Message | None:
    """Write down how an answer has ended; None when its conversation was deleted meanwhile."""
    open_ = (ChatMessage.id == message_id) & ChatMessage.finish_reason.is_(None)
    context.session.execute(update(ChatMessage).where(open_).values(**values))
    row = context.session.get(ChatMessage, message_id, populate_existing=True)
    return record(context.settings, row) if row is not None else None


def interrupt(session: Session, message_id: str, content: str) -> None:
    """Write down that an answer's server ended while it was being written."""
    open_ = (ChatMessage.id == message_id) & ChatMessage.finish_reason.is_(None)
    # an older version's journal may hold NUL, which no database shall
    values = {"content": content.replace("\0", "\ufffd"), "finish_reason": "interrupted"}
    session.execute(update(ChatMessage).where(open_).values(values))


def record(settings: Settings, row: ChatMessage) -> schemas.Message:
    """Return a message as the contract shows it."""
    values = {name: getattr(row, name) for name in schemas.Message.model_fields}
    if row.role == "assistant" and row.finish_reason is None:
        journal = Journal(settings.home, row.id)
        values["content"] = journal.text()
        values["finish_reason"] = None if journal.is_written() else "interrupted"
    return schemas.Message.model_validate(values)


def _add(
    context: Context, row: Conversation, role: schemas.Role, content: str, parent_id: str | None, **values: Any
) -> ChatMessage:
    if parent_id is not None:
        _message(context, row, parent_id)
    message = ChatMessage(
        id=new_id("msg"),
        conversation_id=row.id,
        parent_id=parent_id,
        role=role,
        content=content,
        left_out=0,
        created_at=utcnow(),
        **values,
    )
    context.session.add(message)
    context.session.flush()
    return message


def _own(context: Context) -> ColumnElement[bool]:
    return Conversation.owner_id == context.user.id


def _find(context: Context, conversation_id: str) -> Conversation:
    row = context.session.scalar(select(Conversation).where(_own(context), Conversation.id == conversation_id))
    if row is None:
        raise ConversationNotFound(f"You have no conversation {conversation_id[:64]}.")
    return row


def _message(context: Context, row: Conversation, message_id: str) -> ChatMessage:
    found = context.session.get(ChatMessage, message_id)
    if found is None or found.conversation_id != row.id:
        raise MessageNotFound(f"The conversation has no message {message_id[:64]}.")
    return found


def _summary(row: Conversation) -> schemas.ConversationSummary:
    values = {name: getattr(row, name) for name in schemas.ConversationSummary.model_fields}
    return schemas.ConversationSummary.model_validate(values)


def _title(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…") or UNTITLED


def _model(context: Context, deployment: Deployment) -> schemas.ChatModel:
    return schemas.ChatModel(
        id=deployment.model,
        deployment=deployment,
        settings=_saved(context, deployment.version_id),
        defaults=_defaults(context, deployment),
    )


def _saved(context: Context, version_id: str) -> schemas.ChatSettings:
    row = context.session.get(ModelSettings, (context.user.id, version_id))
    return schemas.ChatSettings.model_validate(row.values if row is not None else {})


def _defaults(context: Context, deployment: Deployment) -> schemas.ChatSettings:
    return prompt.defaults_of(serving.model_folder(context, deployment.id))
