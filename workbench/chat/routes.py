"""The contract of chat: our own conversations, and OpenAI's protocol."""

from __future__ import annotations

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
from workbench.core.routes import delete, download, events, get, patch, post
from workbench.core.schemas import Page

CONVERSATION = "/api/chat/conversations/{conversation_id}"
OPENAI = "/api/openai/v1"

models = get("/api/chat/models", permission="chat:use", returns=ChatModels)
change_settings = patch("/api/chat/models/settings", permission="chat:use", body=SettingsUpdate, returns=ChatModel)
complete = events("/api/chat/completions", permission="chat:use", body=CompletionRequest, messages=Completion | Chunk)
listing = get(
    "/api/chat/conversations", permission="chat:use", query=ConversationsQuery, returns=Page[ConversationSummary]
)
create = post(
    "/api/chat/conversations",
    permission="chat:use",
    body=ConversationCreate,
    returns=Conversation,
    status=201,
    idempotent=True,
)
show = get(CONVERSATION, permission="chat:use", returns=Conversation)
rename = patch(CONVERSATION, permission="chat:use", body=ConversationUpdate, returns=ConversationSummary)
remove = delete(CONVERSATION, permission="chat:use")
say = events(f"{CONVERSATION}/messages", permission="chat:use", body=MessageCreate, messages=ChatEvent)
export = download(f"{CONVERSATION}/export", permission="chat:use", query=ExportQuery)

openai_models = get(f"{OPENAI}/models", permission="chat:use", returns=ModelCards, errors="openai")
openai_model = get(f"{OPENAI}/models/{{model}}", permission="chat:use", returns=ModelCard, errors="openai")
openai_complete = events(
    f"{OPENAI}/chat/completions",
    permission="chat:use",
    body=CompletionRequest,
    messages=Completion | Chunk,
    errors="openai",
)
