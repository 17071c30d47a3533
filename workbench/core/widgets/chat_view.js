const saveFile = (content, buffer) => {
  const url = URL.createObjectURL(new Blob([buffer], { type: content.content_type }));
  make("a", { href: url, download: content.filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
};

const copy = async (text, button, done) => {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "wb-hidden" });
    area.value = text;
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = done;
  setTimeout(() => { button.textContent = before; }, 1500);
};

// The kernel has made the markup safe. It is read in a document that loads and runs nothing, and what is on this list is
// made anew: no tag or attribute that could load or run comes through, whatever the kernel sends.
const TAGS = new Set("P BR HR H1 H2 H3 H4 H5 H6 EM STRONG S DEL BLOCKQUOTE UL OL LI TABLE THEAD TBODY TR TH TD PRE CODE SPAN A".split(" "));
const LINK = /^(https?:|mailto:)/i;
const remade = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.nodeValue)];
  if (node.nodeType !== Node.ELEMENT_NODE) return [];
  const children = [...node.childNodes].flatMap(remade);
  if (!TAGS.has(node.tagName)) return children;
  const fresh = make(node.tagName.toLowerCase(), {}, ...children);
  const name = node.getAttribute("class") ?? "";
  if (/^(wb-code-|language-)[\w+#.\- ]*$/.test(name)) fresh.setAttribute("class", name);
  if (node.tagName === "A" && LINK.test(node.getAttribute("href") ?? "")) {
    fresh.setAttribute("href", node.getAttribute("href"));
    fresh.setAttribute("rel", "noopener noreferrer");
    fresh.setAttribute("target", "_blank");
  }
  return [fresh];
};
const safeNodes = (html) => [...new DOMParser().parseFromString(html, "text/html").body.childNodes].flatMap(remade);

const render = ({ model, el }) => {
  const words = model.get("words");
  const send = (type, given = {}) => model.send({ type, ...given });
  el.classList.add("wb", "wb-chat");
  el.addEventListener("keydown", (event) => event.stopPropagation());
  const button = (label, action, attributes = {}) => make("button", { type: "button", onclick: action, ...attributes }, label);

  // conversations
  const search = make("input", { type: "search", placeholder: words.search, "aria-label": words.search });
  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => send("find", { text: search.value }), 250);
  });
  const list = make("ul", { class: "wb-chat-list", "aria-label": words.history });
  const side = make("details", { class: "wb-chat-side" },
    make("summary", {}, words.history),
    button(words.fresh, () => { send("fresh"); composer.focus(); }, { class: "wb-chat-fresh" }), search, list);
  side.open = !window.matchMedia("(max-width: 700px)").matches;

  // models
  const chooser = make("select", { "aria-label": words.model, onchange: () => send("use", { model: chooser.value }) });
  const state = make("span", { class: "wb-quiet wb-chat-state", role: "status" });
  const end = button(words.end, () => send("end", { model: chooser.value }));
  const deployChoice = make("select", { "aria-label": words.deployable });
  const deploy = button(words.deploy, () => send("deploy", { version: deployChoice.value }));
  const deploying = make("span", { class: "wb-chat-deploy" }, deployChoice, deploy);
  const bar = make("div", { class: "wb-chat-bar" }, chooser, state, end, deploying);

  // parameters
  const inputs = make("div", { class: "wb-chat-fields" });
  const parameters = make("details", { class: "wb-chat-parameters" }, make("summary", {}, words.parameters), inputs);

  // thread and composer
  const thread = make("div", { class: "wb-chat-thread", role: "log", "aria-label": words.thread, tabindex: "0" });
  const notice = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  const composer = make("textarea", { rows: "3", placeholder: words.placeholder, "aria-label": words.placeholder });
  const say = () => {
    const text = composer.value;
    if (!text.trim() || model.get("busy") || !ready()) return;
    composer.value = "";
    send("say", { text });
  };
  composer.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    say();
  });
  const go = button(words.send, say, { class: "wb-main" });
  const halt = button(words.stop, () => send("stop"));
  const code = button(words.python, () => copy(model.get("snippet"), code, words.copied));
  const markdown = button(words.markdown, () => send("export", { format: "markdown" }));
  const json = button(words.json, () => send("export", { format: "json" }));
  const tools = make("div", { class: "wb-chat-tools" }, go, halt, make("span", { class: "wb-chat-gap" }), code, markdown, json);
  const main = make("div", { class: "wb-chat-main" }, bar, parameters, thread, notice, composer, tools);
  el.append(side, main);

  const chosen = () => model.get("models").find((each) => each.id === model.get("model"));
  const ready = () => Boolean(chosen()?.ready);

  const drawModels = () => {
    const models = model.get("models");
    chooser.replaceChildren(...models.map((each) => make("option", { value: each.id }, each.label)));
    chooser.hidden = models.length === 0;
    chooser.value = model.get("model");
    setText(state, models.length ? chosen()?.note ?? "" : words.none);
    end.hidden = models.length === 0 || model.get("deployable").length === 0;
    const before = deployChoice.value;
    const versions = model.get("deployable");
    deployChoice.replaceChildren(...versions.map(([id, label]) => make("option", { value: id }, label)));
    if (versions.some(([id]) => id === before)) deployChoice.value = before;
    deploying.hidden = versions.length === 0;
    drawBusy();
  };
  const drawBusy = () => {
    const busy = model.get("busy");
    go.disabled = busy || !ready();
    halt.hidden = !busy;
    go.hidden = busy;
    const empty = model.get("messages").length === 0;
    for (const each of [code, markdown, json]) each.disabled = empty;
    setText(notice, model.get("notice"));
    notice.hidden = !notice.textContent;
  };
  const drawList = () => {
    const all = model.get("conversations");
    const times = new Intl.DateTimeFormat(model.get("language"), { dateStyle: "short", timeStyle: "short" });
    list.replaceChildren(...all.map((each) => make("li", { "aria-current": String(each.id === model.get("conversation")) },
      make("button", { type: "button", class: "wb-chat-open", onclick: () => send("open", { id: each.id }), title: times.format(new Date(each.time)) }, each.title),
      make("button", { type: "button", class: "wb-chat-remove", "aria-label": fill(words.remove, { title: each.title }), title: words.delete,
        onclick: (event) => confirmRemoval(event.currentTarget, each.id) }, "×"))));
    if (all.length === 0) list.append(make("li", { class: "wb-quiet" }, words.no_history));
  };
  const confirmRemoval = (node, id) => {
    if (node.dataset.sure) return send("remove", { id });
    node.dataset.sure = "yes";
    setText(node, words.sure);
    setTimeout(() => { delete node.dataset.sure; setText(node, "×"); }, 3000);
  };

  const dress = (body) => {
    for (const block of body.querySelectorAll("pre")) {
      const copying = button(words.copy, () => copy(block.querySelector("code")?.textContent ?? block.textContent, copying, words.copied), { class: "wb-chat-copy" });
      block.before(copying);
    }
    for (const table of body.querySelectorAll("table")) {
      const frame = make("div", { class: "wb-chat-table" });
      table.replaceWith(frame);
      frame.append(table);
    }
  };
  const fillBody = (body, message) => {
    body.replaceChildren(...safeNodes(message.html));
    dress(body);
  };
  const editing = (message, article) => {
    const area = make("textarea", { rows: "3", "aria-label": words.edit });
    area.value = message.text;
    const close = () => drawThread();
    article.querySelector(".wb-chat-body").replaceChildren(area);
    article.querySelector(".wb-chat-foot").replaceChildren(
      button(words.send, () => { if (area.value.trim()) send("edit", { id: message.id, text: area.value }); }), button(words.cancel, close));
    area.focus();
  };
  const draw = (message) => {
    const mine = message.role === "user";
    const body = make("div", { class: "wb-chat-body" });
    fillBody(body, message);
    const foot = make("div", { class: "wb-chat-foot" });
    const article = make("article", { class: `wb-chat-message wb-chat-${message.role}`, "data-id": message.id },
      make("header", {}, mine ? words.you : message.role === "system" ? words.system : words.assistant), body, foot);
    if (message.count > 1) {
      foot.append(
        button("‹", () => send("turn", { id: message.id, step: -1 }), { "aria-label": words.previous, disabled: message.place <= 1 }),
        make("span", {}, `${message.place}/${message.count}`),
        button("›", () => send("turn", { id: message.id, step: 1 }), { "aria-label": words.next, disabled: message.place >= message.count }));
    }
    foot.append(make("span", { class: "wb-chat-meta wb-quiet" }, message.meta ?? ""));
    if (message.trouble) foot.append(make("span", { class: "wb-chat-trouble" }, message.trouble));
    if (message.role === "assistant" && !message.live) foot.append(button(words.again, () => send("again", { id: message.id })));
    if (mine) foot.append(button(words.edit, () => editing(message, article)));
    return article;
  };
  const atEnd = () => thread.scrollHeight - thread.scrollTop - thread.clientHeight < 60;
  const scroll = () => { thread.scrollTop = thread.scrollHeight; };
  const drawThread = () => {
    const messages = model.get("messages");
    thread.replaceChildren(...messages.map(draw));
    if (messages.length === 0) thread.append(make("p", { class: "wb-quiet" }, words.empty));
    drawAnswer();
    scroll();
    drawBusy();
  };
  const drawAnswer = () => {
    const answer = model.get("answer");
    const follow = atEnd();
    const old = thread.querySelector(".wb-chat-live");
    if (!answer.id) return old?.remove();
    if (old?.dataset.id === answer.id) {
      fillBody(old.querySelector(".wb-chat-body"), answer);
      setText(old.querySelector(".wb-chat-meta"), answer.meta ?? "");
    } else {
      old?.remove();
      const article = draw({ ...answer, live: true });
      article.classList.add("wb-chat-live");
      thread.append(article);
    }
    if (follow) scroll();
  };
  let drawnFields = "";
  const change = (event) => send("configure", { name: event.target.name, value: event.target.value });
  const drawField = (field) => {
    const id = identifier();
    const attributes = { id, name: field.name, onchange: change, placeholder: field.placeholder ?? "" };
    const input = field.long ? make("textarea", { rows: "2", ...attributes }) : make("input", { type: "text", inputmode: field.words ? "text" : "decimal", ...attributes });
    return make("div", { class: `wb-chat-field ${field.long ? "wb-wide" : ""}` },
      make("label", { for: id, title: field.help ?? "" }, field.label), input, make("span", { class: "wb-chat-trouble", role: "alert", hidden: true }));
  };
  const drawFields = () => {
    const fields = model.get("fields");
    if (JSON.stringify(fields) !== drawnFields && !inputs.contains(document.activeElement)) {
      drawnFields = JSON.stringify(fields);
      inputs.replaceChildren(...fields.map(drawField));
    }
    for (const input of inputs.querySelectorAll("input, textarea")) {
      const error = model.get("errors")[input.name];
      const value = model.get("values")[input.name] ?? "";
      // what was refused stays to be mended, and nobody types against the panel
      if (!error && (input !== document.activeElement || input.dataset.kept !== value)) input.value = value;
      input.dataset.kept = value;
      input.setAttribute("aria-invalid", String(Boolean(error)));
      setText(input.nextSibling, error ?? "");
      input.nextSibling.hidden = !error;
    }
  };
  const receive = (content, buffers) => { if (content.type === "file") saveFile(content, buffers[0]); };
  model.on("msg:custom", receive);
  const stop = [
    watch(model, ["messages"], drawThread),
    watch(model, ["answer"], drawAnswer),
    watch(model, ["models", "model", "deployable"], drawModels),
    watch(model, ["busy", "notice"], drawBusy),
    watch(model, ["conversations", "conversation"], drawList),
    watch(model, ["fields", "values", "errors"], drawFields),
  ];
  send("ready");
  return () => {
    model.off("msg:custom", receive);
    stop.forEach((finish) => finish());
  };
};
export default { render };
