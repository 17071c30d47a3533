import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import testing
from workbench.inference.template import ChatTemplate, TemplateInvalid, TokenizerNotFound

FRAGMENTS = [
    "plain words",
    "2024-11-22 007 3.14159",
    "1234567890",
    "中文，混合 English 与数字42",
    "日本語のテキスト",
    "한국어 문장",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈",
    "def f(x):\n\treturn {'a': [1, 2]}\n",
    "  leading and trailing  ",
    "\n\nnew lines\r\n\r\n",
    "tab\tand\u00a0no-break\u3000space",
    "e\u0301 \u00e9 n\u0303",
    "<|im_start|>user\nnot a turn<|im_end|>",
    "{{ 7 * 7 }} {% raw %}",
    "it's we'll THEY'RE",
    "مرحبا بالعالم",
    "\u200b\ufeff\x07",
]
TEXTS = FRAGMENTS + [first + second for first in FRAGMENTS for second in FRAGMENTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def template(folder: Path) -> ChatTemplate:
    return ChatTemplate.from_folder(folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_tokens_equal_those_of_transformers(folder: Path, template: ChatTemplate) -> None:
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    asked = answered = 0
    for text, reply in zip(TEXTS, reversed(TEXTS), strict=True):
        question = [{"role": "user", "content": text}]
        prompt = theirs.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
        assert template.prompt_ids(question) == prompt
        asked += 1
        turns = [*question, {"role": "assistant", "content": reply}]
        whole = theirs.apply_chat_template(turns, return_dict=False)
        if whole[: len(prompt)] == prompt and "<|im_end|>" not in reply:
            assert template.example(text, reply).input_ids == whole[: whole.index(template.eos_id, len(prompt)) + 1]
            answered += 1
    assert asked > 300
    assert answered > 200


def test_a_conversation_with_a_system_message_equals_transformers(folder: Path, template: ChatTemplate) -> None:
    import transformers

    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi 12"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "中?"},
    ]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert template.render(turns) == theirs.apply_chat_template(turns, tokenize=False)
    assert template.prompt_ids(turns) == theirs.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )


@pytest.mark.parametrize("reply", ["\n\nParis", " Paris", "Paris\n", "\n", "12", "中"])
def test_the_prompt_is_a_prefix_of_the_example_whatever_the_completion_begins_with(
    template: ChatTemplate, reply: str
) -> None:
    example = template.example("Where?", reply)
    prompt = template.prompt_ids([{"role": "user", "content": "Where?"}])
    assert example.input_ids[: len(prompt)] == prompt
    assert example.completion_mask == [0] * len(prompt) + [1] * (len(example.input_ids) - len(prompt))


def test_the_mask_covers_exactly_the_completion_and_its_end(template: ChatTemplate) -> None:
    example = template.example("What is the capital of France?", "Paris")
    trained = [token for token, bit in zip(example.input_ids, example.completion_mask, strict=True) if bit]
    assert trained[-1] == template.eos_id
    assert template.tokenizer.decode(trained, skip_special_tokens=False) == "Paris<|im_end|>"
    assert template.decode(trained) == "Paris"
    assert not example.truncated


def test_a_long_example_is_cut_at_its_end(template: ChatTemplate) -> None:
    whole = template.example("Say it", "yes " * 50)
    cut = template.example("Say it", "yes " * 50, max_length=20)
    assert cut.input_ids == whole.input_ids[:20]
    assert cut.truncated
    assert cut.trainable
    assert not template.example("long " * 50, "yes", max_length=20).trainable


def test_a_model_without_a_template_gets_the_plain_one_visibly(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    plain = ChatTemplate.from_folder(copy)
    assert plain.source == "plain"
    assert plain.record()["source"] == "plain"
    assert plain.render([{"role": "user", "content": "Hi"}], add_generation_prompt=True) == "Hi\n"
    assert plain.tokenizer.decode(plain.example("Hi", "Ho").input_ids, skip_special_tokens=False) == "Hi\nHo<|im_end|>"


def test_an_old_folder_keeps_its_template_in_the_tokenizer_config(copy: Path, template: ChatTemplate) -> None:
    (copy / "chat_template.jinja").unlink()
    choices = [{"name": "tools", "template": "no"}, {"name": "default", "template": template.text}]
    edit(copy / "tokenizer_config.json", chat_template=choices)
    old = ChatTemplate.from_folder(copy)
    assert old.source == "tokenizer_config.json"
    assert old.sha256 == template.sha256


def test_the_digest_changes_with_the_template_and_with_a_special_token(copy: Path, template: ChatTemplate) -> None:
    assert ChatTemplate.from_folder(copy).sha256 == template.sha256
    edit(copy / "tokenizer_config.json", bos_token={"content": "<|im_start|>"})
    assert ChatTemplate.from_folder(copy).sha256 != template.sha256
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert ChatTemplate.from_folder(copy).text == "{{ messages[0].content }}"


def test_every_stop_token_of_the_model_ends_an_answer(copy: Path) -> None:
    edit(copy / "generation_config.json", eos_token_id=[2, 1])
    assert ChatTemplate.from_folder(copy).stop_ids == (2, 1)


def test_an_end_of_turn_is_trained_even_if_the_template_prints_none(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    template = ChatTemplate.from_folder(copy)
    assert template.example("Hi ", "Ho").input_ids[-1] == template.eos_id


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{% if %}", "not valid Jinja"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages.pop() }}", "refused the messages"),
        ("{{ ''.__class__.__mro__ }}", "refused the messages"),
        ("{% if add_generation_prompt %}think: {% endif %}{{ messages[-1].content }}", "not the beginning"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_sentence(copy: Path, text: str, reason: str) -> None:
    (copy / "chat_template.jinja").write_text(text)
    with pytest.raises(TemplateInvalid, match=reason) as caught:
        ChatTemplate.from_folder(copy).example("a", "b")
    assert caught.value.status == 422
    assert "\n" not in caught.value.detail


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerNotFound, match=r"has no tokenizer\.json"):
        ChatTemplate.from_folder(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(TemplateInvalid, match=name):
        ChatTemplate.from_folder(copy)


def test_a_model_whose_answers_never_end_is_refused(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", eos_token=None)
    (copy / "generation_config.json").unlink()
    with pytest.raises(TemplateInvalid, match="names no end-of-sequence token"):
        ChatTemplate.from_folder(copy)
    edit(copy / "tokenizer_config.json", eos_token="<nothing>")
    with pytest.raises(TemplateInvalid, match="does not know its own special token '<nothing>'"):
        ChatTemplate.from_folder(copy)


def test_truncation_and_padding_of_the_file_are_switched_off(copy: Path, template: ChatTemplate) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(copy / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(copy / "tokenizer.json"))
    assert ChatTemplate.from_folder(copy).encode("a long text, longer than four") == template.encode(
        "a long text, longer than four"
    )


def test_it_needs_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from workbench.inference.template import ChatTemplate\n"
        "import workbench.inference.weights, workbench.training.rows, workbench.training.schemas\n"
        "import workbench.evaluation.schemas, workbench.evaluation.compare, workbench.training.checkpoints\n"
        f"print(ChatTemplate.from_folder(Path({str(folder)!r})).example('a', 'b').input_ids)\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'peft', 'pandas') if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[1] == "[]"


TURNS = [
    {"role": role, "content": text}
    for role, text in (
        ("system", "Be brief."),
        ("user", "What is the capital of France?"),
        ("assistant", "Paris"),
        ("user", "And of Italy?"),
        ("assistant", "Rome"),
    )
]


def test_every_answer_of_a_conversation_is_trained_on_the_tokens_that_it_is_served_with(folder: Path) -> None:
    template = ChatTemplate.from_folder(folder)
    example = template.conversation(TURNS)
    for place in (2, 4):
        asked = template.prompt_ids(TURNS[:place])
        answer = template.encode(TURNS[place]["content"] + "<|im_end|>")
        end = len(asked) + len(answer)
        assert example.input_ids[:end] == asked + answer
        assert example.completion_mask[len(asked) : end] == [1] * len(answer)
    assert sum(example.completion_mask) == sum(len(template.encode(f"{city}<|im_end|>")) for city in ("Paris", "Rome"))
    assert example.untrained_turns == 0
    assert sum(example.last_answer().completion_mask) == len(template.encode("Rome<|im_end|>"))


def test_an_answer_that_the_template_rewrites_afterwards_is_not_trained(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "forgets"))
    shorten = "{{ message['content'] if loop.last else message['content'][:2] }}"
    (copy / "chat_template.jinja").write_text(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}:"
        + shorten
        + "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"
    )
    template = ChatTemplate.from_folder(copy)
    served = [*TURNS[:3], {"role": "user", "content": "Hi"}, TURNS[4]]
    example = template.conversation(served)
    asked = template.prompt_ids(served[:4])
    assert example.untrained_turns == 1
    assert example.input_ids[: len(asked)] == asked
    assert example.completion_mask[: len(asked)] == [0] * len(asked)
    assert example.trainable


def test_a_plain_text_needs_no_template(folder: Path) -> None:
    template = ChatTemplate.from_folder(folder)
    example = template.plain("Once upon a time")
    assert example.input_ids == [*template.encode("Once upon a time"), template.eos_id]
    assert all(example.completion_mask)
    assert template.plain("Once upon a time", max_length=3).truncated
