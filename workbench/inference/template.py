"""The one way from messages to tokens, shared by training, the submit-time check, evaluation and serving.

Needs neither torch nor transformers, and gives the same token ids as transformers' `apply_chat_template`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from workbench.core.errors import Invalid, NotFound

Message = Mapping[str, str]
Source = Literal["chat_template.jinja", "tokenizer_config.json", "plain"]

#: Stands in where a model brings no chat template: each text on its own line, the answer ended by eos.
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
)
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class TokenizerNotFound(NotFound):
    """The model folder has no tokenizer.json."""

    code = "template.tokenizer_not_found"


class TemplateInvalid(Invalid):
    """The model's chat template cannot be used."""

    code = "template.invalid"


@dataclass(frozen=True)
class Example:
    """One training or scoring example: the prompt's tokens followed by the completion's."""

    input_ids: list[int]
    #: 1 where the token belongs to the completion (its end-of-turn token included), else 0; same length.
    completion_mask: list[int]
    #: Whether `max_length` cut tokens off the end.
    truncated: bool = False
    #: Earlier answers of the conversation that are not trained, because they are served with other tokens.
    untrained_turns: int = 0

    @property
    def trainable(self) -> bool:
        """Whether any completion token is left."""
        return 1 in self.completion_mask

    def last_answer(self) -> Example:
        """Return the example with only its last answer trained, as it is scored."""
        start = len(self.completion_mask) - self.completion_mask[::-1].index(0) if 0 in self.completion_mask else 0
        mask = [0] * start + self.completion_mask[start:]
        return Example(self.input_ids, mask, self.truncated, self.untrained_turns)

    def cut(self, max_length: int | None) -> Example:
        """Return the example with at most `max_length` tokens."""
        if max_length is None or len(self.input_ids) <= max_length:
            return self
        ids, mask = self.input_ids[:max_length], self.completion_mask[:max_length]
        return Example(ids, mask, truncated=True, untrained_turns=self.untrained_turns)


@dataclass(frozen=True)
class ChatTemplate:
    """A model folder's chat template with its tokenizer."""

    #: Where the template text was found; `plain` means that the model brought none.
    source: Source
    text: str
    tokenizer: Tokenizer
    tokenizer_sha256: str
    special_tokens: Mapping[str, str]
    #: Ids that end an answer: the tokenizer's eos and those of generation_config.json.
    stop_ids: tuple[int, ...]

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTemplate:
        """Read a model folder; raises TokenizerNotFound or TemplateInvalid."""
        tokenizer, tokenizer_sha256 = _read_tokenizer(folder)
        config = _read_json(folder / "tokenizer_config.json")
        special_tokens = _special_tokens(config, _read_json(folder / "special_tokens_map.json"))
        source, text = _find_template(folder, config)
        stop_ids = _stop_ids(tokenizer, special_tokens, folder)
        return cls(source, text, tokenizer, tokenizer_sha256, special_tokens, stop_ids)

    @cached_property
    def sha256(self) -> str:
        """Digest of the template text and of the special tokens that it may insert."""
        content = json.dumps([self.text, sorted(self.special_tokens.items())], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def eos_id(self) -> int:
        """The token that ends an answer."""
        return self.stop_ids[0]

    @property
    def pad_id(self) -> int:
        """The token that fills a batch; its positions are always masked."""
        pad = self.special_tokens.get("pad_token")
        return _token_id(self.tokenizer, pad) if pad is not None else self.eos_id

    def record(self) -> dict[str, str]:
        """Return what a result stores about its template."""
        return {"source": self.source, "sha256": self.sha256, "tokenizer_sha256": self.tokenizer_sha256}

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Render messages as text; raises TemplateInvalid when the template fails or refuses them."""
        plain = [dict(message) for message in messages]
        try:
            return self._compiled.render(
                messages=plain,
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self.special_tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise TemplateInvalid(
                f"The model's chat template ({self.source}) refused the messages: {error}."
            ) from error

    def encode(self, text: str) -> list[int]:
        """Turn rendered text into token ids; no special token is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn token ids into text without special tokens."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens a model sees before it answers."""
        return self.encode(self.render(messages, add_generation_prompt=True))

    def example(self, prompt: str, completion: str, max_length: int | None = None) -> Example:
        """Tokenise a question and its answer."""
        question = {"role": "user", "content": prompt}
        return self.conversation([question, {"role": "assistant", "content": completion}], max_length)

    def conversation(self, messages: Sequence[Message], max_length: int | None = None) -> Example:
        """Tokenise a conversation: exactly the tokens of `prompt_ids`, then the last answer with its end-of-turn token.

        Earlier answers are trained where their tokens, and all before them, are those that were served when they were
        given; a template that rewrites the past, for example by taking out thoughts, leaves them untrained.
        """
        prompt_ids, answer_ids = self._turn(messages)
        mask, untrained = [0] * len(prompt_ids), 0
        for place, message in enumerate(messages[:-1]):
            if message["role"] == "assistant":
                span = self._served(messages[: place + 1], prompt_ids)
                mask[span] = [1] * len(mask[span])
                untrained += span == slice(0, 0)
        whole = Example(prompt_ids + answer_ids, mask + [1] * len(answer_ids), untrained_turns=untrained)
        return whole.cut(max_length)

    def plain(self, text: str, max_length: int | None = None) -> Example:
        """Tokenise a text without any template, all of it trained, between bos (if the model has one) and eos."""
        bos = self.special_tokens.get("bos_token")
        start = [_token_id(self.tokenizer, bos)] if bos is not None else []
        ids = [*self.encode(text), self.eos_id]
        return Example(start + ids, [0] * len(start) + [1] * len(ids)).cut(max_length)

    def _turn(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Return the tokens of what was asked, and those of the answer that is the last message."""
        asked = self.render(messages[:-1], add_generation_prompt=True)
        whole = self.render(messages)
        if not whole.startswith(asked):
            raise TemplateInvalid(
                f"The model's chat template ({self.source}) renders a question that is not the beginning of the whole"
                " conversation, so what is trained would differ from what is served; choose another base model."
            )
        prompt_ids = self.encode(asked)
        return prompt_ids, self._end_turn(self._answer_ids(prompt_ids, asked, whole))

    def _served(self, messages: Sequence[Message], ids: list[int]) -> slice:
        """Return where in `ids` the last of these messages lies as it was served; an empty slice when it does not."""
        try:
            asked, answer = self._turn(messages)
        except TemplateInvalid:
            return slice(0, 0)
        end = len(asked) + len(answer)
        return slice(len(asked), end) if ids[:end] == asked + answer else slice(0, 0)

    def _answer_ids(self, prompt_ids: list[int], asked: str, whole: str) -> list[int]:
        ids = self.encode(whole)
        if ids[: len(prompt_ids)] == prompt_ids:
            return ids[len(prompt_ids) :]
        # a merge across the boundary would change the prompt's last token, which no served prompt could repeat
        return self.encode(whole[len(asked) :])

    def _end_turn(self, ids: list[int]) -> list[int]:
        ends = [position for position, token in enumerate(ids) if token in self.stop_ids]
        return ids[: ends[-1] + 1] if ends else [*ids, self.eos_id]

    @cached_property
    def _compiled(self) -> jinja2.Template:
        try:
            return _environment().from_string(self.text)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateInvalid(
                f"The model's chat template ({self.source}) is not valid Jinja: {error.message}."
            ) from error


class _Generation(jinja2.ext.Extension):
    """Accepts `{% generation %}…{% endgeneration %}`, which marks the answer and prints its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _read_tokenizer(folder: Path) -> tuple[Tokenizer, str]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TokenizerNotFound(
            f"The model folder {folder.name!r} has no tokenizer.json; export it with a fast tokenizer."
        )
    content = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except ValueError as error:
        raise TemplateInvalid(f"{folder.name}/tokenizer.json cannot be read: {error}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, hashlib.sha256(content).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise TemplateInvalid(f"{path.parent.name}/{path.name} is not valid JSON: {error}.") from error
    return content


def _special_tokens(*configs: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for config in configs:
        for name in SPECIAL_TOKENS:
            value = config.get(name)
            token = value.get("content") if isinstance(value, dict) else value
            if isinstance(token, str):
                found.setdefault(name, token)
    return found


def _find_template(folder: Path, config: Mapping[str, Any]) -> tuple[Source, str]:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return "chat_template.jinja", path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    if isinstance(template, str):
        return "tokenizer_config.json", template
    return "plain", PLAIN_TEMPLATE


def _stop_ids(tokenizer: Tokenizer, special_tokens: Mapping[str, str], folder: Path) -> tuple[int, ...]:
    configured = _read_json(folder / "generation_config.json").get("eos_token_id")
    extra: Iterable[int] = (
        configured if isinstance(configured, list) else [configured] if configured is not None else []
    )
    eos = special_tokens.get("eos_token")
    own = [_token_id(tokenizer, eos)] if eos is not None else []
    stop_ids = tuple(dict.fromkeys([*own, *extra]))
    if not stop_ids:
        raise TemplateInvalid(
            f"The model {folder.name!r} names no end-of-sequence token, so its answers would never end."
        )
    return stop_ids


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise TemplateInvalid(f"The tokenizer does not know its own special token {token!r}.")
    return found
