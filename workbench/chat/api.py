"""Binds the contract of chat to its service."""

from __future__ import annotations

from collections.abc import AsyncIterator

from workbench.chat import answering, exporting, openai, routes, service
from workbench.chat.openai import Chunk, Completion, CompletionRequest, ModelCard, ModelCards
from workbench.chat.schemas import (
    ChatEvent,
    ChatModel,
    ChatModels,
    Conversation,
    ConversationCreate,
    ConversationsQuery,
    ConversationSummary,
    ConversationUpdate,
    ExportQuery,
    MessageCreate,
    SettingsUpdate,
)
from workbench.core.context import Context, StreamContext
from workbench.core.routes import Download
from workbench.core.schemas import Page


@routes.models.handler
def models(context: Context) -> ChatModels:
    """List the deployed models with one's settings."""
    return service.models(context)


@routes.change_settings.handler
def change_settings(context: Context, body: SettingsUpdate) -> ChatModel:
    """Change one's settings of a model: temperature, maximum length, top-p and others."""
    return service.change_settings(context, body)


@routes.complete.handler
async def complete(context: StreamContext, body: CompletionRequest) -> Completion | AsyncIterator[Chunk | str]:
    """Answer by OpenAI's chat protocol, whole or streamed; nothing is kept."""
    return await answering.complete(context, body)


@routes.listing.handler
def listing(context: Context, query: ConversationsQuery) -> Page[ConversationSummary]:
    """List one's own conversations, the last used first."""
    return service.listing(context, query)


@routes.create.handler
def create(context: Context, body: ConversationCreate) -> Conversation:
    """Begin a conversation, or bring one along."""
    return service.create(context, body)


@routes.show.handler
def show(context: Context, conversation_id: str) -> Conversation:
    """Show a conversation with all its messages."""
    return service.show(context, conversation_id)


@routes.rename.handler
def rename(context: Context, conversation_id: str, body: ConversationUpdate) -> ConversationSummary:
    """Give a conversation another title."""
    return service.rename(context, conversation_id, body)


@routes.remove.handler
def remove(context: Context, conversation_id: str) -> None:
    """Delete a conversation with all its messages."""
    service.remove(context, conversation_id)


@routes.say.handler
async def say(context: StreamContext, conversation_id: str, body: MessageCreate) -> AsyncIterator[ChatEvent]:
    """Say something, or ask for another answer; the reply is streamed, and kept as far as it came."""
    return await answering.reply(context, conversation_id, body)


@routes.export.handler
def export(context: Context, conversation_id: str, query: ExportQuery) -> Download:
    """Export a conversation as Markdown or JSON."""
    return exporting.export(service.show(context, conversation_id), query.format)


@routes.openai_models.handler
def openai_models(context: Context) -> ModelCards:
    """List the deployed models as OpenAI's API does."""
    return ModelCards(data=[openai.card(model) for model in service.models(context).items])


@routes.openai_model.handler
def openai_model(context: Context, model: str) -> ModelCard:
    """Show a deployed model as OpenAI's API does."""
    return openai.card(service.model(context, model))


@routes.openai_complete.handler
async def openai_complete(context: StreamContext, body: CompletionRequest) -> Completion | AsyncIterator[Chunk | str]:
    """Answer by OpenAI's chat protocol, with OpenAI's error object."""
    return await answering.complete(context, body)
