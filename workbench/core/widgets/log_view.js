const LINES = 2000;
const ESCAPES = /\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)|\u001b[@-_]/g;

const overwrite = (line) => line.replace(/\r+$/, "").split("\r").pop();

const addText = (content, open, text) => {
  const lines = (open + text.replace(ESCAPES, "")).split("\n");
  content.lastElementChild?.remove();
  content.append(...lines.slice(-LINES).map((line) => make("div", {}, overwrite(line))));
  while (content.childElementCount > LINES) content.firstElementChild.remove();
  return lines.at(-1);
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-log");
  const content = make("div");
  const area = make("div", { class: "wb-log-area", role: "log", tabindex: 0, "aria-label": words.label, "aria-live": "off" }, content);
  const empty = make("p", { class: "wb-quiet" }, words.empty);
  const tick = make("input", { type: "checkbox", checked: true });
  const title = make("summary", {}, words.title);
  const body = make("div", {}, make("label", {}, tick, ` ${words.follow}`), area, empty);
  const details = make("details", { open: true }, title, body);
  el.append(details);
  let end = 0;
  let open = "";

  const settle = () => {
    empty.hidden = content.childElementCount > 0;
    area.hidden = !empty.hidden;
    if (tick.checked) area.scrollTop = area.scrollHeight;
  };
  const listener = (message) => {
    if (message.type !== "text") return;
    if (message.reset) {
      content.replaceChildren();
      open = "";
    } else if (message.start !== end) {
      model.send({ type: "ready" });
      return;
    }
    if (message.text) open = addText(content, open, message.text);
    end = message.end;
    settle();
  };
  area.addEventListener("scroll", () => {
    const distance = area.scrollHeight - area.scrollTop - area.clientHeight;
    if (distance > 40 && tick.checked && area.matches(":hover, :focus")) tick.checked = false;
  }, { passive: true });
  tick.addEventListener("change", settle);
  details.addEventListener("toggle", settle);
  const sizes = new ResizeObserver(settle);
  sizes.observe(content);
  model.on("msg:custom", listener);
  settle();
  model.send({ type: "ready" });
  return () => {
    sizes.disconnect();
    model.off("msg:custom", listener);
  };
};
export default { render };
