"""Conversations on both databases: one's own, append-only, searched, recovered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.accounts.people import owner
from workbench.chat import service, thread
from workbench.chat.answering import recover
from workbench.chat.exporting import branch, export
from workbench.chat.journal import Journal
from workbench.chat.schemas import (
    ChatSettings,
    Conversation,
    ConversationCreate,
    ConversationsQuery,
    ConversationUpdate,
    GivenMessage,
    MessageCreate,
)
from workbench.chat.service import ConversationNotFound, MessageNotFound, NothingToAnswer
from workbench.chat.tables import ChatMessage
from workbench.core.context import Context
from workbench.core.database import Database
from workbench.core.errors import WorkbenchError
from workbench.core.settings import Settings


def brought(context: Context, *texts: str, title: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [GivenMessage(role=roles[place % 2], content=text) for place, text in enumerate(texts)]  # type: ignore[arg-type]
    return service.create(context, ConversationCreate(title=title, messages=messages))


def test_a_conversation_is_ones_own(context: Context) -> None:
    mine = brought(context, "Hello", "Hi")
    stranger = Context(context.session, replace(owner(), id="stranger"), context.settings)
    assert service.listing(stranger, ConversationsQuery()).items == []
    for attempt in (
        lambda: service.show(stranger, mine.id),
        lambda: service.remove(stranger, mine.id),
        lambda: service.rename(stranger, mine.id, ConversationUpdate(title="x")),
        lambda: service.path(stranger, mine.id, MessageCreate(model="m", content="x")),
    ):
        with pytest.raises(ConversationNotFound):
            attempt()
    assert service.show(context, mine.id).title == "Hello"


def test_only_what_people_wrote_is_answered_and_only_within_a_conversation(context: Context) -> None:
    mine, other = brought(context, "Hello", "Hi"), brought(context, "Else", "Where")
    question, answer = mine.messages
    asked = service.path(context, mine.id, MessageCreate(model="m", parent_id=answer.id, content="More"))
    assert [message["content"] for message in asked] == ["Hello", "Hi", "More"]
    again = service.path(context, mine.id, MessageCreate(model="m", parent_id=question.id))
    assert [message["content"] for message in again] == ["Hello"]
    with pytest.raises(NothingToAnswer):
        service.path(context, mine.id, MessageCreate(model="m", parent_id=answer.id))
    with pytest.raises(MessageNotFound):
        service.path(context, mine.id, MessageCreate(model="m", parent_id=other.messages[0].id, content="x"))


def test_search_finds_titles_and_messages_literally_and_pages(context: Context) -> None:
    for number in range(5):
        brought(context, f"Question {number}", f"100%_sure {number}", title=f"Title {number}")

    def found(search: str) -> list[str]:
        return [each.title for each in service.listing(context, ConversationsQuery(search=search)).items]

    assert found("tItLe 3") == ["Title 3"]
    assert len(found("100%_S")) == 5
    assert found("100%%") == []
    first = service.listing(context, ConversationsQuery(limit=3))
    rest = service.listing(context, ConversationsQuery(limit=3, cursor=first.next_cursor))
    assert [each.title for each in (*first.items, *rest.items)] == [f"Title {number}" for number in (4, 3, 2, 1, 0)]
    assert rest.next_cursor is None


def test_deleting_takes_the_messages_along(context: Context) -> None:
    mine = brought(context, "Hello", "Hi", "More", "Yes")
    service.remove(context, mine.id)
    context.session.flush()
    assert context.session.query(ChatMessage).count() == 0


def test_what_a_killed_server_had_said_is_recovered(database: Database, settings: Settings) -> None:
    with database.write() as session:
        context = Context(session, owner(), settings)
        mine = brought(context, "Hello")
        answer = service._add(context, service._find(context, mine.id), "assistant", "", mine.messages[0].id)
        journal = Journal(settings.home, answer.id)
        journal.begin()
        journal.add("Some of ")
        journal.add("it\u2028 \n")
        assert service.show(context, mine.id).messages[-1].finish_reason is None  # its writer lives
    journal._file.close()
    written = journal.path.read_text().splitlines(keepends=True)
    dead = json.loads(written[0]) | {"start_time": 1}
    journal.path.write_text(json.dumps(dead) + "\n" + "".join(written[1:]) + '"torn')
    with database.read() as session:
        shown = service.show(Context(session, owner(), settings), mine.id).messages[-1]
    assert (shown.content, shown.finish_reason) == ("Some of it\u2028 \n", "interrupted")
    recover(database, settings)
    assert not journal.path.exists()
    with database.read() as session:
        assert service.show(Context(session, owner(), settings), mine.id).messages[-1] == shown


def test_a_thread_shows_branches_and_writes_python(context: Context) -> None:
    mine = brought(context, "Hello", "Hi")
    service._add(
        context, service._find(context, mine.id), "assistant", "Hey", mine.messages[0].id, finish_reason="stop"
    )
    messages = service.show(context, mine.id).messages
    assert [message.content for message in branch(messages)] == ["Hello", "Hey"]
    assert thread.place(messages, messages[1]) == (1, 2)
    assert thread.beside(messages, messages[2].id, -1) == messages[1].id
    markdown = export(service.show(context, mine.id), "markdown")
    assert (markdown.filename, "Hey" in markdown.content.decode()) == ("Hello.md", True)
    assert thread.typed("stop", "a | \\n") == ["a", "\n"]
    assert thread.typed("temperature", " ") is None
    with pytest.raises(ValueError, match="invalid"):
        thread.typed("seed", "1.5")
    assert thread.shown(ChatSettings(temperature=0.0, stop=["a", "\n"]), ("temperature", "stop")) == {
        "temperature": "0",
        "stop": "a | \\n",
    }


def test_errors_of_a_conversation_have_codes() -> None:
    for error in (ConversationNotFound, MessageNotFound, NothingToAnswer):
        assert issubclass(error, WorkbenchError)
        assert error.code.startswith("conversation.")
