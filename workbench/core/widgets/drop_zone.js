const CHUNK = 1 << 20; // bytes
const TAB = "workbench-tab";

const tabId = () => {
  if (!sessionStorage.getItem(TAB)) sessionStorage.setItem(TAB, identifier());
  return sessionStorage.getItem(TAB);
};

const transfers = new Map();

const send = async (model, transfer) => {
  const end = Math.min(transfer.offset + CHUNK, transfer.file.size);
  const content = await transfer.file.slice(transfer.offset, end).arrayBuffer();
  model.send({ type: "chunk", transfer: transfer.id, offset: transfer.offset }, undefined, [content]);
};

const start = (model, file) => {
  const transfer = { id: identifier(), file, offset: 0 };
  transfers.set(transfer.id, transfer);
  model.send({ type: "start", transfer: transfer.id, sender: tabId(), filename: file.name, size: file.size });
};

const acknowledge = (model, message) => {
  const transfer = message.type === "received" ? transfers.get(message.transfer) : undefined;
  if (!transfer) return;
  transfer.offset = message.offset;
  if (transfer.offset >= transfer.file.size) {
    transfers.delete(transfer.id);
    return;
  }
  send(model, transfer).catch(() => model.send({ type: "unreadable", transfer: transfer.id }));
};

const initialize = ({ model }) => {
  const listener = (message) => acknowledge(model, message);
  model.on("msg:custom", listener);
  if (model.get("state") === "receiving" && model.get("sender") === tabId()) model.send({ type: "interrupted" });
  return () => model.off("msg:custom", listener);
};

const describe = (model, words) => {
  const { state, filename, message } = Object.fromEntries(["state", "filename", "message"].map((k) => [k, model.get(k)]));
  if (state === "receiving") {
    return fill(words.receiving, { file: filename, received: size(model, model.get("received")), size: size(model, model.get("size")) });
  }
  return state === "working" ? fill(words.working, { file: filename }) : message;
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-drop");
  const input = make("input", { type: "file", accept: model.get("accept"), class: "wb-hidden", tabindex: -1, "aria-hidden": true });
  const zone = make(
    "button",
    { type: "button", class: "wb-drop-zone", onclick: () => input.click() },
    make("strong", {}, words.drop), make("span", { class: "wb-quiet" }, words.formats),
  );
  const bar = make("progress", { max: 1, "aria-label": words.progress });
  const cancel = make("button", { type: "button", onclick: () => model.send({ type: "cancel" }) }, words.cancel);
  const sentence = make("p", { class: "wb-sentence", role: "status" });
  el.append(input, zone, make("div", { class: "wb-drop-row" }, bar, cancel), sentence);

  const choose = (files) => {
    if (files.length && !zone.disabled) start(model, files[0]);
  };
  const over = (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.toggle("wb-over", event.type === "dragover");
    if (event.type === "drop") choose(event.dataTransfer.files);
  };
  for (const type of ["dragover", "dragleave", "drop"]) zone.addEventListener(type, over);
  input.addEventListener("change", () => {
    choose(input.files);
    input.value = "";
  });
  return watch(model, ["state", "filename", "received", "size", "message"], () => {
    const state = model.get("state");
    const busy = state === "receiving" || state === "working";
    zone.disabled = busy;
    bar.parentElement.hidden = !busy;
    if (state === "receiving") bar.value = model.get("size") ? model.get("received") / model.get("size") : 0;
    else bar.removeAttribute("value");
    cancel.hidden = state !== "receiving";
    sentence.classList.toggle("wb-trouble", state === "failed");
    setText(sentence, describe(model, words));
    sentence.hidden = !sentence.textContent;
  });
};
export default { initialize, render };
