"""The shapes of OpenAI's chat protocol, as far as they are served; any other field is refused by its name."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from workbench.chat.schemas import MAX_TEXT, ChatModel, ChatSettings, StopString
from workbench.core.schemas import Schema


class TextPart(Schema):
    """A piece of a message."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_TEXT)


class InputMessage(Schema):
    """A message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=MAX_TEXT)] | list[TextPart]
    name: None = None

    def plain(self) -> dict[str, str]:
        """Return it as the chat template takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Schema):
    """What a stream tells besides the answer."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class CompletionRequest(Schema):
    """A conversation to be continued. top_k, min_p and repetition_penalty are additions to OpenAI's fields."""

    model: str = Field(min_length=1, max_length=256)
    messages: list[InputMessage] = Field(min_length=1, max_length=10_000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    user: str | None = Field(None, max_length=256, description="Taken and not used.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1000)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=131_072)
    max_completion_tokens: int | None = Field(None, ge=1, le=131_072)
    repetition_penalty: float | None = Field(None, ge=0.1, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> CompletionRequest:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens mean the same; give one of them")
        return self

    def settings(self) -> ChatSettings:
        """Return what the request asks for by itself."""
        names = ChatSettings.model_fields.keys() - {"max_tokens", "system", "stop"}
        limit = self.max_tokens if self.max_tokens is not None else self.max_completion_tokens
        given = {name: getattr(self, name) for name in names}
        return ChatSettings.model_validate(given | {"max_tokens": limit, "stop": self.stop})


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(BaseModel):
    """The message that was made."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: Answer
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(BaseModel):
    """Some more of the answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """The only choice of a chunk."""

    index: Literal[0] = 0
    delta: Delta
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None = None


class Chunk(BaseModel):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class ModelCard(BaseModel):
    """A model that answers."""

    id: str
    object: Literal["model"] = "model"
    #: Unix seconds.
    created: int
    owned_by: str


class ModelCards(BaseModel):
    """All models that answer."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def now() -> int:
    """Return the Unix seconds that OpenAI's shapes carry."""
    return int(time.time())


def usage(prompt_tokens: int, completion_tokens: int) -> Usage:
    """Return the tokens with their sum."""
    total = prompt_tokens + completion_tokens
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total)


def chunk(identity: str, model: str, created: int, **choice: Any) -> Chunk:
    """Return a chunk with a choice of these fields."""
    return Chunk(id=identity, created=created, model=model, choices=[ChunkChoice.model_validate(choice)])


def card(model: ChatModel) -> ModelCard:
    """Show a deployed model as OpenAI's API does."""
    deployment = model.deployment
    return ModelCard(id=model.id, created=int(deployment.created_at.timestamp()), owned_by=deployment.owner_name)
