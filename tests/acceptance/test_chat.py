"""The chat as its user has it: in JupyterLab and under Voilà, through kills and reloads, with hostile texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import COMMAND, open_notebook, opened, run_all
from endless import make_endless_model
from payloads import PAYLOADS, RUN
from people import PASSWORD, make_person
from playwright.sync_api import Page, expect
from servers import Lab, running_dashboards, running_lab, until

from workbench.chat import service
from workbench.chat.client import Deployment
from workbench.chat.schemas import ConversationCreate, DeltaEvent, GivenMessage
from workbench.core.context import Context
from workbench.core.http import ServerUnreachable
from workbench.core.settings import Settings
from workbench.testing import make_model

pytestmark = [pytest.mark.slow]
expect.set_options(timeout=60_000)  # milliseconds; only a broken test waits so long
COMPOSER = ".wb-chat-main > textarea"
LIVE = ".wb-chat-live"
SEND, STOP = ".wb-chat-tools button.wb-main", ".wb-chat-tools button:nth-of-type(2)"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("chat")
    configuration = folder / "jupyter"
    configuration.mkdir()
    (configuration / "jupyter_lab_config.json").write_text('{"LabApp": {"expose_app_in_browser": true}}')
    variables = {"JUPYTER_CONFIG_DIR": str(configuration), "WORKBENCH_LANGUAGE": "en"}
    with running_lab(folder / "home", **variables) as running:
        yield running


@pytest.fixture(scope="module")
def slow(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    deployment = lab.wb.deploy(str(make_endless_model(tmp_path_factory.mktemp("chat") / "slow"))).wait()
    lab.wb.chats.configure(deployment.id, temperature=0, max_tokens=3000)
    return deployment


def addresses(lab: Lab) -> tuple[str, str]:
    return lab.url, lab.url.replace("http", "ws", 1)


def say(page: Page, text: str) -> None:
    page.fill(COMPOSER, text)
    page.press(COMPOSER, "Enter")


def answered(page: Page) -> None:
    expect(page.locator(LIVE)).to_have_count(0)
    expect(page.locator(SEND)).to_be_visible()


@pytest.mark.browser
def test_a_model_is_deployed_talked_to_and_found_again_as_it_was_left(
    lab: Lab, slow: Deployment, tmp_path: Path
) -> None:
    lab.wb.models.add(str(make_model(tmp_path / "tiny")))
    with opened(*addresses(lab)) as page:
        open_notebook(page, lab, "chat.ipynb", alone=True)
        run_all(page)
        expect(page.locator(".wb-chat-state")).to_contain_text("ready")

        say(page, "Tell me a long story")  # and watch it come
        expect(page.locator(f"{LIVE} .wb-chat-body")).not_to_be_empty()
        length = len(page.inner_text(f"{LIVE} .wb-chat-body"))
        page.wait_for_function(
            "([place, length]) => document.querySelector(place).innerText.length > length",
            arg=[f"{LIVE} .wb-chat-body", length + 20],
        )
        page.click(STOP)
        answered(page)
        assert "Stopped." in page.inner_text(".wb-chat-assistant .wb-chat-foot")
        stopped = page.inner_text(".wb-chat-assistant .wb-chat-body")
        assert len(stopped) > length

        page.click(".wb-chat-parameters summary")
        page.fill("[name=temperature]", "7")
        page.press("[name=temperature]", "Tab")
        expect(page.locator(".wb-chat-field .wb-chat-trouble:visible")).to_contain_text("less than or equal to 2")
        page.fill("[name=temperature]", "0.5")
        page.press("[name=temperature]", "Tab")
        expect(page.locator(".wb-chat-field .wb-chat-trouble:visible")).to_have_count(0)
        page.fill("[name=max_tokens]", "6")
        page.press("[name=max_tokens]", "Tab")
        until(lambda: lab.wb.chats.models()[0].settings.max_tokens == 6, 30)

        page.click(".wb-chat-assistant >> text=Regenerate")
        expect(page.locator(".wb-chat-assistant .wb-chat-foot")).to_contain_text("2/2")
        answered(page)
        foot = page.inner_text(".wb-chat-assistant .wb-chat-foot")
        for told in ("Cut at the token limit.", "answer 6 tokens", "first after", "tokens/s", "temperature 0.5"):
            assert told in foot
        page.click("[aria-label='Previous answer']")
        expect(page.locator(".wb-chat-assistant .wb-chat-foot")).to_contain_text("1/2")
        assert page.inner_text(".wb-chat-assistant .wb-chat-body") == stopped

        deployable = page.locator("[aria-label='Model to deploy']")
        deployable.select_option(label="tiny@1")  # another model in the same thread
        page.click("text=Deploy >> nth=-1")
        page.wait_for_function(
            """() => document.querySelector(".wb-chat-bar select").selectedOptions[0]?.text === "tiny@1"
                && document.querySelector(".wb-chat-state").innerText.startsWith("ready")"""
        )
        say(page, "And you?")
        expect(page.locator(".wb-chat-assistant")).to_have_count(2)
        answered(page)
        assert "tiny@1" in page.locator(".wb-chat-assistant .wb-chat-foot").nth(1).inner_text()

        with page.expect_download() as saved:
            page.click(".wb-chat-tools >> text=Markdown")
        assert "Tell me a long story" in Path(saved.value.path()).read_text()
        page.click("text=New conversation")
        expect(page.locator(".wb-chat-message")).to_have_count(0)
        say(page, "A second one")
        expect(page.locator(".wb-chat-assistant")).to_have_count(1)
        answered(page)
        expect(page.locator(".wb-chat-list li")).to_have_count(2)
        page.fill(".wb-chat-side [type=search]", "long STORY")
        expect(page.locator(".wb-chat-list li")).to_have_count(1)
        page.click(".wb-chat-open")
        expect(page.locator(".wb-chat-assistant")).to_have_count(2)
        page.fill(".wb-chat-side [type=search]", "")
        expect(page.locator(".wb-chat-list li")).to_have_count(2)
        second = page.locator(".wb-chat-list li", has_text="A second one").locator(".wb-chat-remove")
        second.click()
        second.click()  # sure
        expect(page.locator(".wb-chat-list li")).to_have_count(1)
        thread = page.inner_text(".wb-chat-thread")

        page.evaluate(COMMAND, ["docmanager:save", {}])
        open_notebook(page, lab, "chat.ipynb", alone=True)  # a reload, in a new kernel's panel
        run_all(page)
        expect(page.locator(".wb-chat-assistant")).to_have_count(2)
        assert page.inner_text(".wb-chat-thread") == thread
    assert [each.title for each in lab.wb.chats.list()] == ["Tell me a long story"]


@pytest.mark.browser
def test_a_hundred_hostile_texts_run_nothing(lab: Lab) -> None:
    said = [{"role": role, "content": text} for text in PAYLOADS for role in ("user", "assistant")]
    lab.wb.chats.begin("<img src=x onerror=window.__run=1>", said)
    with opened(*addresses(lab)) as page:
        open_notebook(page, lab, "chat.ipynb", alone=True)
        run_all(page)
        expect(page.locator(".wb-chat-message")).to_have_count(len(said))
        page.wait_for_timeout(1000)  # what was loaded by now would have run
        assert page.evaluate("window.__run") is None
        assert RUN in page.inner_text(".wb-chat-thread")
        handlers = "[...document.querySelectorAll('.wb-chat-body *')].flatMap((node) => node.getAttributeNames())"
        names = set(page.evaluate(handlers)) - {"type"}
        assert not [name for name in names if name.startswith(("on", "style", "src", "data-"))], names


@pytest.mark.browser
def test_a_reviewer_talks_under_voila_and_hostile_texts_run_nothing(lab: Lab, slow: Deployment, tmp_path: Path) -> None:
    lab.wb.chats.configure(slow.id, max_tokens=6)
    said = [GivenMessage(role="assistant", content=text) for text in PAYLOADS]
    database = lab.database()
    with database.write() as session:
        context = Context(session, make_person(session, "Rae", "reviewer"), Settings(home=lab.home))
        service.create(context, ConversationCreate(title="Hostile", messages=said))
    database.close()
    lab.wb.share(slow)
    phone = {"width": 390, "height": 1500}
    with running_dashboards(lab.home) as (url, _), opened(url, lab.url, viewport=phone) as page:
        page.goto(url)
        page.fill("[name=email]", "rae@example.org")
        page.fill("[name=password]", PASSWORD)
        page.click("button.primary")
        page.wait_for_url(f"{url}**")
        page.goto(f"{url}voila/render/chat.ipynb?theme=dark")
        expect(page.locator(".wb-chat-message")).to_have_count(len(said))
        page.wait_for_timeout(1000)  # what was loaded by now would have run
        assert page.evaluate("window.__run") is None
        assert page.locator("[aria-label='Model to deploy']:visible").count() == 0
        page.click(".wb-chat-side summary")  # folded on a phone
        page.click("text=New conversation")
        page.select_option(".wb-chat-bar select >> nth=0", slow.id)
        expect(page.locator(".wb-chat-state")).to_contain_text("ready")
        page.click(".wb-chat-parameters summary")
        page.fill("[name=max_tokens]", "6")
        page.press("[name=max_tokens]", "Tab")
        say(page, "Hello")
        expect(page.locator(".wb-chat-assistant .wb-chat-foot")).to_contain_text("tokens/s")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=tmp_path / "voila.png")
    assert "Hello" not in [each.title for each in lab.wb.chats.list()]  # the reviewer's own


def test_a_server_that_is_killed_in_mid_answer_has_all_that_it_told(lab: Lab, slow: Deployment) -> None:
    lab.wb.chats.configure(slow.id, max_tokens=3000)
    chat = lab.wb.chats.open(lab.wb.chats.begin().id, slow.id)
    told = ""

    def listen() -> None:
        nonlocal told
        for event in chat.stream("Go on"):
            told += event.text if isinstance(event, DeltaEvent) else ""
            if len(told) > 80 and lab.process.poll() is None:
                os.kill(lab.process.pid, 9)
                lab.process.wait()

    with pytest.raises(ServerUnreachable):
        listen()
    home = lab.home
    lab.disconnect()
    again = Lab(home, JUPYTER_CONFIG_DIR=str(home.parent / "jupyter"), WORKBENCH_LANGUAGE="en")
    try:
        kept = again.wb.chats.open(chat.id, slow.id).conversation().messages[-1]
        assert kept.finish_reason == "interrupted"
        assert kept.content.startswith(told)
        assert list((home / "chat").glob("*")) == []
        assert again.wb.deployments[slow.id].phase == "ready"  # deployments outlive their server
        assert again.wb.chats.open(chat.id, slow.id).say("Still there?", max_tokens=4).reply
    finally:
        again.disconnect()
        lab.process = again.process
