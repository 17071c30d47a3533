"""Deployed models over HTTP: what OpenAI's client gets is what transformers says, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest
from endless import make_endless_model
from servers import Lab, until

from workbench.chat.client import Deployment
from workbench.chat.schemas import DeltaEvent, EndedEvent, StartedEvent
from workbench.core.errors import Invalid, RemoteError
from workbench.inference.generate import generate
from workbench.inference.load import load
from workbench.serving.client import DeploymentEnded
from workbench.testing import Family, make_model

QUESTIONS = ("What is the capital of France?", "9 + 8 = ?", "法国的首都是哪里？ 😀\n\n  Tell me!")
TOKENS = 24
SERVED: list[tuple[str, Family, dict[str, Any], str]] = [
    ("qwen3", "qwen3", {}, "llama.cpp"),
    ("llama", "llama", {}, "llama.cpp"),
    ("mistral", "mistral", {}, "llama.cpp"),
    ("gemma", "gemma", {"tie_word_embeddings": True}, "llama.cpp"),
    ("deepseek_v3", "deepseek_v3", {"q_lora_rank": 32}, "llama.cpp"),
    ("deepseek_lite", "deepseek_v3", {}, "transformers"),
]


@dataclass(frozen=True)
class Served:
    """A deployment and its folder."""

    deployment: Deployment
    folder: Path


@pytest.fixture(scope="module")
def tiny(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = make_model(tmp_path_factory.mktemp("chat") / "tiny")
    deployment = lab.wb.deploy(str(folder)).wait()
    yield Served(deployment, folder)
    deployment.stop()


@pytest.fixture(scope="module")
def slow(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that takes seconds for its answer, and does not end it by itself."""
    folder = make_endless_model(tmp_path_factory.mktemp("chat") / "slow")
    deployment = lab.wb.deploy(str(folder)).wait()
    lab.wb.chats.configure(deployment.id, temperature=0, max_tokens=3000, repetition_penalty=1.0)
    yield Served(deployment, folder)
    deployment.stop()


def expected(folder: Path, questions: tuple[str, ...] = QUESTIONS) -> list[str]:
    """Return what transformers answers greedily."""
    model = load(folder, "float32")
    prompts = [model.template.prompt_ids([{"role": "user", "content": text}]) for text in questions]
    return [model.template.decode(generate(model, [prompt], TOKENS)[0]) for prompt in prompts]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family", "options", "engine"), SERVED, ids=lambda value: str(value)[:20])
def test_openais_client_gets_what_transformers_says(
    lab: Lab, tmp_path: Path, name: str, family: Family, options: Any, engine: str
) -> None:
    folder = make_model(tmp_path / name, family, **options)
    deployment = lab.wb.deploy(str(folder)).wait()
    record = deployment.record()
    assert record.engine == engine
    if engine == "llama.cpp":
        assert record.certificate is not None
        assert (record.certificate.strings, record.certificate.strings_different) == (10_000, 0)
    else:
        assert "q_lora_rank" in (record.fallback_reason or "")
    client = deployment.openai()
    for question, wanted in zip(QUESTIONS, expected(folder), strict=True):
        asked: dict[str, Any] = {"model": f"{name}@1", "messages": [{"role": "user", "content": question}]}
        asked |= {"temperature": 0, "max_tokens": TOKENS}
        plain = client.chat.completions.create(**asked)
        assert plain.choices[0].message.content == wanted
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        assert streamed(chunks) == wanted
        assert chunks[-1].usage == plain.usage
        assert asyncio.run(asked_asynchronously(deployment, asked)) == [wanted, wanted]
    client.close()
    deployment.stop()


def streamed(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def asked_asynchronously(deployment: Deployment, asked: dict[str, Any]) -> list[str]:
    base = f"{deployment.http.url}/api/openai/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key=deployment.http.token) as client:
        plain = await client.chat.completions.create(**asked)
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
    return [str(plain.choices[0].message.content), streamed(chunks)]


def test_a_stream_ends_as_openais_does(lab: Lab, tiny: Served) -> None:
    body = {"model": tiny.deployment.id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    with httpx.stream(
        "POST", f"{lab.url}api/openai/v1/chat/completions", headers=bearer(lab), json=body | STREAM
    ) as got:
        lines = [line for line in got.iter_lines() if line]
    assert got.headers["Content-Type"] == "text/event-stream"
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    documents = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert documents[0]["choices"][0]["delta"]["role"] == "assistant"
    assert documents[-2]["choices"][0]["finish_reason"] == "length"
    assert documents[-1]["choices"] == []
    assert documents[-1]["usage"]["completion_tokens"] == 4
    assert len({document["id"] for document in documents}) == 1


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def bearer(lab: Lab) -> dict[str, str]:
    return {"Authorization": f"Bearer {lab.token}"}


def test_parameters_change_what_they_should(tiny: Served) -> None:
    client = tiny.deployment.openai()

    def ask(**options: Any) -> Any:
        messages: Any = [{"role": "user", "content": "Tell me more"}]
        return client.chat.completions.create(model=tiny.deployment.id, messages=messages, **options).choices[0]

    def text(**options: Any) -> str:
        return str(ask(**options).message.content)

    greedy = text(temperature=0, max_tokens=40)
    assert text(temperature=0, max_tokens=40) == greedy
    assert text(temperature=1.5, seed=7, max_tokens=40) == text(temperature=1.5, seed=7, max_tokens=40)
    assert len({text(temperature=1.5, seed=seed, max_tokens=40) for seed in range(4)}) == 4
    assert len({text(temperature=1.5, max_tokens=40) for _ in range(4)}) > 1
    assert ask(temperature=0, max_tokens=5).finish_reason == "length"
    assert greedy.startswith(text(temperature=0, max_tokens=5).rstrip("\ufffd"))
    assert text(temperature=2, max_tokens=40, extra_body={"top_k": 1}) == greedy
    assert text(temperature=2, top_p=1e-6, max_tokens=40) == greedy
    stop = greedy[4:7]
    ended = ask(temperature=0, max_tokens=40, stop=[stop])
    assert ended.message.content == greedy[: greedy.find(stop)]
    assert ended.finish_reason == "stop"
    client.close()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_what_is_out_of_range_or_not_served_is_refused_by_name(tiny: Served, options: Any, field: str) -> None:
    client = tiny.deployment.openai()
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=tiny.deployment.id, messages=[{"role": "user", "content": "Hi"}], **options
        )
    assert caught.value.param == field
    assert field in caught.value.message
    assert caught.value.type == "invalid_request_error"
    client.close()


def test_refusals_have_the_form_that_each_base_promises(lab: Lab, tiny: Served) -> None:
    body = {"model": "nobody", "messages": [{"role": "user", "content": "Hi"}]}
    theirs = httpx.post(f"{lab.url}api/openai/v1/chat/completions", headers=bearer(lab), json=body)
    ours = httpx.post(f"{lab.url}api/chat/completions", headers=bearer(lab), json=body)
    assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "deployment.model_not_served")
    assert (ours.status_code, ours.json()["code"]) == (404, "deployment.model_not_served")
    nobody = httpx.post(f"{lab.url}api/openai/v1/chat/completions", json=body)
    assert (nobody.status_code, nobody.json()["error"]["type"]) == (403, "invalid_request_error")
    long = {"model": tiny.deployment.id, "messages": [{"role": "user", "content": "long " * 2000}]}
    refused = httpx.post(f"{lab.url}api/openai/v1/chat/completions", headers=bearer(lab), json=long)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_models_are_listed_and_found(lab: Lab, tiny: Served) -> None:
    client = tiny.deployment.openai()
    assert "tiny@1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("tiny@1").id == "tiny@1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    client.close()
    assert lab.wb.deploy(str(tiny.folder)).id == tiny.deployment.id  # served in this very way already


def test_settings_are_kept_for_a_model_and_can_be_taken_back(lab: Lab, tiny: Served) -> None:
    chats, name = lab.wb.chats, tiny.deployment.id
    try:
        chats.configure(name, temperature=0, max_tokens=3)
        answer = tiny.deployment.chat("Hi").answer
        assert answer is not None
        assert (answer.completion_tokens, answer.finish_reason) == (3, "length")
        assert chats.configure(name, max_tokens=None).max_tokens is None
        assert chats.models()[0].settings.temperature == 0 or len(chats.models()) > 1
        with pytest.raises(Invalid, match="temperature"):
            chats.configure(name, temperature=3)
    finally:
        chats.configure(name, temperature=None, max_tokens=None)


def test_a_conversation_goes_on_branches_and_is_kept(lab: Lab, tiny: Served) -> None:
    chat = tiny.deployment.chat("What is the capital of France?", temperature=0, max_tokens=6)
    first = chat.reply
    chat.say("And of Italy?", temperature=0, max_tokens=6)
    messages = chat.conversation().messages
    assert [message.role for message in messages] == ["user", "assistant", "user", "assistant"]
    assert [message.parent_id for message in messages] == [None, *(message.id for message in messages[:3])]
    assert messages[3].prompt_tokens is not None
    assert messages[1].prompt_tokens is not None
    assert messages[3].prompt_tokens > messages[1].prompt_tokens
    events = list(chat.stream(None, parent=messages[0].id, temperature=0, max_tokens=6))
    assert isinstance(events[0], StartedEvent)
    assert events[0].question is None
    assert isinstance(events[-1], EndedEvent)
    assert events[-1].answer.content == first
    kept = chat.conversation()
    assert [message.parent_id for message in kept.messages].count(messages[0].id) == 2
    assert kept.title == "What is the capital of France?"
    exported = chat.export("markdown").content.decode()
    assert exported.startswith("# What is the capital of France?")
    assert "## Assistant (tiny@1)" in exported
    assert json.loads(chat.export("json").content)["messages"][0]["content"] == "What is the capital of France?"
    assert kept.id in [each.id for each in lab.wb.chats.list("CAPITAL OF fra")]
    assert lab.wb.chats.list("100% not there_") == []
    lab.wb.chats.delete(kept.id)
    with pytest.raises(RemoteError, match="no conversation"):
        chat.conversation()


def test_what_does_not_fit_is_left_out_and_said(lab: Lab, tiny: Served) -> None:
    said = [{"role": role, "content": f"{role} {number}"} for number in range(60) for role in ("user", "assistant")]
    begun = lab.wb.chats.begin("Long", said)
    chat = lab.wb.chats.open(begun.id, tiny.deployment.id).say("And now?", max_tokens=8)
    assert chat.answer is not None
    assert chat.answer.left_out > 0
    assert chat.answer.prompt_tokens is not None
    assert chat.answer.prompt_tokens <= 512 - 8
    assert len(chat.conversation().messages) == 122
    with pytest.raises(RemoteError, match="shorten it"):
        chat.say("long " * 2000)


def engine_of(deployment: Deployment) -> psutil.Process:
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if deployment.id in line and ("serving.llama_cpp" in line or "serving.transformers_app" in line):
            return process
    raise AssertionError(f"no engine of {deployment.id}")


@pytest.mark.slow
def test_an_engine_that_is_killed_in_mid_answer_loses_nothing_and_comes_back(lab: Lab, slow: Served) -> None:
    chat = lab.wb.chats.open(lab.wb.chats.begin().id, slow.deployment.id)
    told, killed = "", False
    for event in chat.stream("Go on for long"):
        told += event.text if isinstance(event, DeltaEvent) else ""
        if len(told) > 60 and not killed:
            os.kill(engine_of(slow.deployment).pid, signal.SIGKILL)
            killed = True
    kept = chat.conversation().messages[-1]
    assert killed
    assert (kept.finish_reason, kept.content) == ("error", told)
    assert "mid-answer" in (kept.error or "")
    until(lambda: slow.deployment.record().restarts == 1, 90, "the note of a new start")
    until(lambda: slow.deployment.phase == "ready", 90, "the engine's return")
    assert chat.say("And now?", max_tokens=5).reply
    assert slow.deployment.record().job_state == "running"


@pytest.mark.slow
def test_a_reader_who_goes_away_ends_the_work_and_keeps_the_part(lab: Lab, slow: Served) -> None:
    chat = lab.wb.chats.open(lab.wb.chats.begin().id, slow.deployment.id)
    stream = chat.stream("Go on for long")
    told = ""
    for event in stream:
        told += event.text if isinstance(event, DeltaEvent) else ""
        if len(told) > 40:
            break
    stream.close()  # type: ignore[attr-defined]
    kept = until(
        lambda: next((one for one in chat.conversation().messages if one.finish_reason == "cancelled"), None), 90
    )
    assert kept.content.startswith(told)
    begun = time.monotonic()
    assert chat.say("Short", max_tokens=2).reply
    assert time.monotonic() - begun < 40  # the slot was free


@pytest.mark.slow
def test_a_client_that_does_not_read_is_dropped(lab: Lab, tmp_path: Path) -> None:
    # more bytes than the sockets' buffers take: the answer of a small model with a long context
    folder = make_endless_model(tmp_path / "long", hidden_size=32, num_hidden_layers=1, max_position_embeddings=65536)
    deployment = lab.wb.deploy(str(folder), context_length=65536).wait()
    asked = {"model": deployment.id, "messages": [{"role": "user", "content": "go"}], "stream": True}
    body = json.dumps(asked | {"max_tokens": 65000, "temperature": 0}).encode()
    where = urlsplit(lab.url)
    head = f"POST /api/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {lab.token}\r\n"
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        lazy.connect((where.hostname, where.port))
        lazy.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        warning = "A client of /api/chat/completions does not read; it is dropped."
        until(lambda: warning in (lab.home / "test-server.log").read_text(), 150, "the drop")
        assert deployment.chat("And you?", max_tokens=3).answer is not None, "others are answered meanwhile"
        deployment.stop()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # read by two kilobytes, the rest takes minutes
        lazy.settimeout(30)
        with suppress(ConnectionResetError):
            while lazy.recv(1 << 16):
                pass  # what the buffers held; then the connection is at its end


def test_fifty_at_once_are_all_answered(lab: Lab, tiny: Served) -> None:
    def plain() -> float:
        begun = time.perf_counter()
        httpx.get(f"{lab.url}api/jobs", headers=bearer(lab), timeout=60).raise_for_status()
        return time.perf_counter() - begun

    alone = statistics.median(plain() for _ in range(20))
    body = {"model": tiny.deployment.id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200} | STREAM

    def ask(number: int) -> int:
        with httpx.stream(
            "POST", f"{lab.url}api/chat/completions", headers=bearer(lab), json=body | {"seed": number}, timeout=120
        ) as got:
            lines = [line for line in got.iter_lines() if line]
        assert got.status_code == 200
        assert lines[-1] == "data: [DONE]"
        return int(json.loads(lines[-2].removeprefix("data: "))["usage"]["completion_tokens"])

    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(ask, number) for number in range(50)]
        beside = [plain() for _ in range(20)]
        counts = [answer.result() for answer in answers]
    assert all(count > 0 for count in counts)
    print(f"plain GET alone {alone * 1000:.1f} ms, beside 50 chats {statistics.median(beside) * 1000:.1f} ms")


def test_a_deployment_ends_by_itself_and_by_hand(lab: Lab, tiny: Served) -> None:
    brief = lab.wb.deploy(lab.wb.models["tiny"], ttl_seconds=10).wait()
    assert brief.id != tiny.deployment.id
    until(lambda: brief.phase == "stopped", 90, "the end of an idle deployment")
    assert brief.record().job_state == "succeeded"
    second = lab.wb.deploy(lab.wb.models["tiny"], ttl_seconds=11).wait()
    assert "Ready on llama.cpp" in second.log().text
    second.stop()
    until(lambda: second.phase == "stopped", 90, "the end of a deployment")
    with pytest.raises(DeploymentEnded):
        second.wait()
    with pytest.raises(RemoteError, match="No deployment answers"):
        lab.wb.chats.open(lab.wb.chats.begin().id, second.id).say("Hi")


def test_an_engine_that_cannot_be_had_is_a_typed_failure(lab: Lab, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "refused", "deepseek_v3")
    deployment = lab.wb.deploy(str(folder), engine="llama.cpp")
    with pytest.raises(DeploymentEnded, match="q_lora_rank"):
        deployment.wait()
    assert deployment.record().error_code == "serving.not_convertible"


def test_engines_are_reached_through_the_gateway_alone(lab: Lab, tiny: Served) -> None:
    engine = engine_of(tiny.deployment)
    assert [one for one in engine.net_connections("inet") if one.status == "LISTEN"] == []
    folder = next((lab.home / "jobs" / tiny.deployment.id).iterdir())
    known = json.loads((folder / "engine.json").read_bytes())
    assert Path(known["socket"]).parent.stat().st_mode & 0o077 == 0
    assert (folder / "engine.json").stat().st_mode & 0o077 == 0
    with httpx.Client(transport=httpx.HTTPTransport(uds=known["socket"])) as stranger:
        assert stranger.post("http://engine/completion", json={"prompt": "x"}).status_code == 401
    assert known["key"] not in tiny.deployment.log().text
    assert known["key"] not in json.dumps(tiny.deployment.dict())
