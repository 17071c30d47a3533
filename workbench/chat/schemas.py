"""Conversations, their messages and settings on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from workbench.core.schemas import PageQuery, Schema, Time
from workbench.serving.schemas import Deployment

MAX_TEXT = 1_000_000  # characters of one message
Role = Literal["system", "user", "assistant"]
#: `stop`: the model ended its answer, or a stop string did; `length`: the limit; `cancelled`: whoever asked went away;
#: `error`: the engine broke off; `interrupted`: the server ended while it answered.
Finish = Literal["stop", "length", "cancelled", "error", "interrupted"]
Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
StopString = Annotated[str, Field(min_length=1, max_length=200)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00\r\n]*$")]


class ChatSettings(Schema):
    """How a model answers; None: as the model's own files say, or the field's default."""

    temperature: float | None = Field(None, ge=0, le=2, description="0: always the likeliest token; 1 by default.")
    top_p: float | None = Field(None, gt=0, le=1, description="Share of the probability that is kept; 1 by default.")
    top_k: int | None = Field(None, ge=0, le=1000, description="Tokens that are kept; 0, the default: all.")
    min_p: float | None = Field(None, ge=0, le=1, description="Least share of the likeliest token's probability.")
    max_tokens: int | None = Field(None, ge=1, le=131_072, description="Tokens of an answer at most; 1,024 by default.")
    repetition_penalty: float | None = Field(None, ge=0.1, le=2, description="Above 1: says less again.")
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="The same seed gives the same answer.")
    stop: list[StopString] | None = Field(None, max_length=4, description="Texts that end an answer.")
    system: Text | None = Field(None, description="What the model is told before every conversation.")

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


class SettingsUpdate(ChatSettings):
    """New settings of a model; what is left out stays, and null takes a setting back."""

    model: str = Field(min_length=1, max_length=256)


class ChatModel(Schema):
    """A model that one can talk to, or could soon."""

    #: Give it as `model`.
    id: str
    deployment: Deployment
    #: As the caller has set them.
    settings: ChatSettings
    #: What is in force without any setting, from the model's own files.
    defaults: ChatSettings


class ChatModels(Schema):
    """The models that are deployed, newest deployment first."""

    items: list[ChatModel]


class Message(Schema):
    """One message of a conversation; messages are never changed, another answer is another message."""

    id: str
    #: The message that it follows; None for a first one.
    parent_id: str | None
    role: Role
    content: str
    #: What answered, and how; None for what people wrote.
    model: str | None = None
    version_id: str | None = None
    settings: ChatSettings | None = None
    #: None while it is being written, and for what people wrote.
    finish_reason: Finish | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: Seconds from the request to the first text, and to the end.
    first_token_seconds: float | None = None
    seconds: float | None = None
    #: How many of the oldest messages were left out, because they did not fit the model's context.
    left_out: int = 0
    created_at: Time


class ConversationSummary(Schema):
    """A conversation in a list."""

    id: str
    title: str
    #: The model that was asked last.
    model: str | None
    created_at: Time
    updated_at: Time


class Conversation(ConversationSummary):
    """A conversation with all its messages, oldest first; they form a tree by `parent_id`."""

    messages: list[Message]


class GivenMessage(Schema):
    """A message that was written elsewhere."""

    role: Role
    content: Text


class ConversationCreate(Schema):
    """A conversation to begin, or to bring along."""

    title: Title | None = None
    messages: list[GivenMessage] = Field(default_factory=list, max_length=10_000)


class ConversationUpdate(Schema):
    """Another title."""

    title: Title


class ConversationsQuery(PageQuery):
    """Which of one's own conversations to list, the last used first."""

    search: str | None = Field(None, max_length=200, description="In titles and messages, whatever the case.")


class MessageCreate(Schema):
    """Something to say, or another answer to what was said: the reply is streamed."""

    model: str = Field(min_length=1, max_length=256)
    parent_id: str | None = Field(None, description="The message that is followed; null: a first message.")
    content: Text | None = Field(None, description="null: the parent, which a person wrote, is answered once more.")
    settings: ChatSettings = Field(default_factory=ChatSettings, description="For this answer, before all others.")


class StartedEvent(Schema):
    """What was said is kept, and an answer has begun."""

    type: Literal["started"] = "started"
    question: Message | None
    answer: Message


class DeltaEvent(Schema):
    """Some more of the answer."""

    type: Literal["delta"] = "delta"
    text: str


class EndedEvent(Schema):
    """The answer as it is kept."""

    type: Literal["ended"] = "ended"
    answer: Message


ChatEvent = Annotated[StartedEvent | DeltaEvent | EndedEvent, Field(discriminator="type")]


class ExportQuery(Schema):
    """In which form to export."""

    format: Literal["markdown", "json"] = "markdown"
