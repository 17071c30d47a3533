"""Decides whether llama.cpp may serve a model: `python -m workbench.serving.gate FOLDER WORK`.

Compared are the token ids of ten thousand texts, and the greedy answers and next-token probabilities of a small random
model of the same shape under transformers and under llama.cpp. A process of its own, because it loads torch.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

from workbench.inference.generate import generate
from workbench.inference.load import LanguageModel, load
from workbench.inference.template import ChatTemplate
from workbench.jobs.files import write_json
from workbench.serving import convert as converter
from workbench.serving.corpus import SIZE, corpus
from workbench.serving.engines import EngineFailed
from workbench.serving.process import EngineProcess, complaint
from workbench.serving.schemas import Certificate
from workbench.serving.shapes import LITE_LAYERS, shape_of
from workbench.serving.vocabulary import NotConvertible

PROMPTS, ANSWER_TOKENS = 10, 24
TOLERANCE = 2e-3  # nats; llama.cpp's table of the GELU function alone makes 1e-3
FIRST_LOOK = 400  # texts that rule a wrong pre-tokenizer out
BATCH = 500  # texts in one request
CLONE_WIDTH = 256
INIT = 0.06
SMALL_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@dataclass(frozen=True)
class Answers:
    """What one engine made of the prompts."""

    tokens: list[list[int]]
    texts: list[str]
    #: Log-probabilities of every next token, for each prompt.
    logprobs: torch.Tensor


def certify(folder: Path, work: Path) -> Certificate:
    """Compare llama.cpp with transformers for the shape and tokenizer of a model folder."""
    strings = strings_different = prompts = different = 0
    pre: str | None = None
    largest: float | None = None
    reason: str | None = None
    try:
        shape_of(json.loads((folder / "config.json").read_bytes()))
        strings = SIZE
        pre, strings_different = pre_tokenizer(folder, work)
        if strings_different:
            raise NotConvertible(
                f"No pre-tokenizer of llama.cpp splits texts as its tokenizer does: the nearest, {pre}, differs"
                f" on {strings_different} of {SIZE:,} texts."
            )
        clone = make_clone(folder, work / "clone")
        prompts = PROMPTS
        different, largest = compare(clone, work, pre)
        if different or largest > TOLERANCE:
            raise NotConvertible(
                f"llama.cpp answers {different} of {PROMPTS} prompts otherwise than transformers, and its"
                f" log-probabilities differ by up to {largest:.4f}."
            )
    except (NotConvertible, EngineFailed) as error:
        reason = error.detail
    return Certificate(
        holds=reason is None,
        reason=reason,
        pre_tokenizer=pre,
        strings=strings,
        strings_different=strings_different,
        prompts=prompts,
        prompts_different=different,
        max_logprob_difference=largest,
    )


def pre_tokenizer(folder: Path, work: Path) -> tuple[str, int]:
    """Return llama.cpp's pre-tokenizer for the folder's tokenizer, and on how many of the texts it differs."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = list(corpus())
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    shape = shape_of(json.loads((folder / "config.json").read_bytes()))
    nearest = ("", SIZE + 1)
    for name in converter.vocabulary_of(folder, shape).suggestions():
        found = _differences(folder, work, name, texts, expected, nearest[1])
        nearest = min(nearest, (name, found), key=lambda each: each[1])
        if found == 0:
            break
    return nearest


def make_clone(folder: Path, target: Path) -> Path:
    """Make a small random model of a folder's shape, with its tokenizer; no parameter's value hides an error."""
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    for name, value in _smaller(config.to_dict()).items():
        setattr(config, name, value)
    config.initializer_range = INIT
    config.dtype = "float32"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            for parameter in [*network.parameters(), *network.buffers()]:
                if parameter.dim() == 1 and parameter.is_floating_point() and not _is_rope(network, parameter):
                    parameter.add_(torch.randn_like(parameter) * INIT)
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(target)
    for name in SMALL_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, target / name)
    return target


def compare(clone: Path, work: Path, pre: str) -> tuple[int, float]:
    """Return how many greedy answers differ, and the largest difference of a log-probability."""
    model = load(clone, "float32")
    prompts = _prompts(model)
    expected = _transformers(model, prompts)
    found = _llama_cpp(clone, work, pre, prompts, model.network.config.vocab_size)
    pairs = zip(expected.tokens, found.tokens, expected.texts, found.texts, strict=True)
    different = sum(ids != others or text != other for ids, others, text, other in pairs)
    return different, float((expected.logprobs - found.logprobs).abs().max())


def _prompts(model: LanguageModel) -> list[list[int]]:
    chosen = random.Random(0)  # noqa: S311 - prompts, not secrets
    size = model.template.tokenizer.get_vocab_size()
    asked = [text for text in list(corpus(40))[7:] if text.strip()][: PROMPTS // 2]
    rendered = [model.template.prompt_ids([{"role": "user", "content": text}])[:96] for text in asked]
    return rendered + [[chosen.randrange(size) for _ in range(12)] for _ in range(PROMPTS - len(rendered))]


def _transformers(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> Answers:
    tokens = [generate(model, [prompt], ANSWER_TOKENS)[0] for prompt in prompts]
    with torch.inference_mode():
        last = [model.network(torch.tensor([prompt])).logits[0, -1].float() for prompt in prompts]
    texts = [model.template.decode(ids) for ids in tokens]
    return Answers(tokens, texts, torch.log_softmax(torch.stack(last), dim=-1))


def _llama_cpp(clone: Path, work: Path, pre: str, prompts: Sequence[Sequence[int]], size: int) -> Answers:
    file = work / "clone.gguf"
    converter.convert(clone, file, "f32", pre)
    tokens, texts, rows = [], [], []
    with running(file, work, 256) as engine, engine.client() as client:
        for prompt in prompts:
            asked = {"prompt": list(prompt), "temperature": 0, "top_k": 1, "return_tokens": True, "cache_prompt": False}
            answer = client.post("/completion", json=asked | {"n_predict": ANSWER_TOKENS}).json()
            tokens.append(answer["tokens"])
            texts.append(answer["content"])
            rows.append(_next(client, asked, size))
    return Answers([_before_stop(ids, clone) for ids in tokens], texts, torch.stack(rows))


def _next(client: Any, asked: dict[str, Any], size: int) -> torch.Tensor:
    # the probabilities are the model's own; the bias only forces a token that can be printed, or none are reported
    forced = {"n_predict": 1, "n_probs": size, "logit_bias": [[_PRINTABLE, 1e4]], "post_sampling_probs": False}
    answer = client.post("/completion", json=asked | forced).json()
    if "completion_probabilities" not in answer:
        raise EngineFailed(f"llama.cpp told no probabilities: {str(answer)[:200]}")
    row = torch.full((size,), float("-inf"))
    for entry in answer["completion_probabilities"][0]["top_logprobs"]:
        row[entry["id"]] = entry["logprob"]
    return row


_PRINTABLE = 40


def _before_stop(ids: list[int], clone: Path) -> list[int]:
    stops = ChatTemplate.from_folder(clone).stop_ids
    return ids[: next((place for place, token in enumerate(ids) if token in stops), len(ids))]


@contextmanager
def running(file: Path, work: Path, context_length: int) -> Iterator[EngineProcess]:
    """Run llama.cpp on a file; raises `EngineFailed` with what it complained about."""
    options = {"file": str(file), "context_length": context_length, "parallel": 1, "threads": 1, "exact": True}
    path = work / "engine.log"
    with path.open("ab") as log:
        start = log.tell()
        process = EngineProcess("llama.cpp", work, file, options, log)
        try:
            process.wait()
            yield process
        except EngineFailed as error:
            raise EngineFailed(f"llama.cpp does not load it: {complaint(path, start) or error.detail}") from error
        finally:
            process.stop()


def _differences(folder: Path, work: Path, pre: str, texts: list[str], expected: list[list[int]], limit: int) -> int:
    """Count the texts whose ids differ under a pre-tokenizer; a wrong one is given up after the first look."""
    file = work / "vocabulary.gguf"
    converter.write_vocabulary(folder, file, pre)
    with running(file, work, 256) as engine, engine.client() as client:
        first = _different(client, texts[:FIRST_LOOK], expected[:FIRST_LOOK])
        if first:
            return first * SIZE // FIRST_LOOK
        return sum(
            _different(client, texts[start : start + BATCH], expected[start : start + BATCH])
            for start in range(0, SIZE, BATCH)
        )


def _different(client: Any, texts: list[str], expected: list[list[int]]) -> int:
    """Ask for many texts at once, each behind a token that no text gives."""
    mark = 0
    content: list[Any] = [item for text in texts for item in (mark, text)]
    answer = client.post("/tokenize", json={"content": content, "add_special": False, "parse_special": False}).json()
    found: list[list[int]] = []
    for token in answer["tokens"]:
        if token == mark:
            found.append([])
        else:
            found[-1].append(token)
    pairs = zip(found, expected, strict=True)
    return sum([*filter(lambda token: token != mark, wanted)] != got for got, wanted in pairs)


def _smaller(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that make a model small and leave its shape's kind as it is."""
    heads, shared = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    layers = min(config["num_hidden_layers"], 4)
    smaller: dict[str, Any] = {}
    if config["hidden_size"] <= CLONE_WIDTH:
        return smaller
    if config.get("kv_lora_rank"):
        smaller |= {"num_attention_heads": 4, "num_key_value_heads": 4, "hidden_size": CLONE_WIDTH}
        layers = (
            LITE_LAYERS if not config.get("q_lora_rank") else max(layers, config.get("first_k_dense_replace", 0) + 1)
        )
    else:
        kept = min(shared, 2)
        width = config.get("head_dim") or config["hidden_size"] // heads
        smaller |= {"num_attention_heads": kept * (heads // shared), "num_key_value_heads": kept}
        given = bool(config.get("head_dim"))
        smaller["hidden_size"] = CLONE_WIDTH if given else kept * (heads // shared) * width
    smaller |= {"num_hidden_layers": layers, "intermediate_size": 2 * CLONE_WIDTH}
    if config.get("moe_intermediate_size"):
        smaller["moe_intermediate_size"] = CLONE_WIDTH // 4
    if config.get("layer_types"):
        smaller["layer_types"] = config["layer_types"][:layers]
    return smaller


def _is_rope(network: torch.nn.Module, parameter: torch.Tensor) -> bool:
    return any(buffer is parameter and "inv_freq" in name for name, buffer in network.named_buffers())


def main() -> None:
    """Write the certificate to `certificate.json` of the work folder."""
    folder, work = Path(sys.argv[1]), Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "certificate.json", certify(folder, work).model_dump())


if __name__ == "__main__":
    main()
