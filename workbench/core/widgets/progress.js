const QUIET = 10_000; // milliseconds between two announcements of progress
const MARKS = { queued: "◷", assigned: "◷", running: "▶", stopping: "◼", lost: "?", succeeded: "✓", failed: "✕", cancelled: "◼" };

const duration = (model, seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
};

const facts = (model, words, since) => {
  const get = (name) => model.get(name);
  const running = get("state") === "running";
  const passed = running ? (Date.now() - since) / 1000 : 0;
  const values = [
    get("total") ? [words.step, fill(words.of, { step: number(model, get("step")), total: number(model, get("total")) })] : null,
    get("elapsed") >= 0 ? [words.elapsed, duration(model, get("elapsed") + passed)] : null,
    running && get("remaining") >= 0 ? [words.remaining, duration(model, get("remaining") - passed)] : null,
    ...get("figures"),
  ];
  return values.filter(Boolean);
};

const sentence = (model, words) => model.get("error") || model.get("reason") || words[`note_${model.get("state")}`] || "";

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-progress");
  const badge = make("span", { class: "wb-badge" });
  const percent = make("strong");
  const bar = make("progress", { max: 1, "aria-label": words.label });
  const list = make("dl", { class: "wb-facts" });
  const text = make("p", { class: "wb-sentence" });
  const connection = make("p", { class: "wb-sentence wb-quiet" });
  const cancel = make("button", { type: "button", onclick: () => model.send({ type: "cancel" }) }, words.cancel);
  const resume = make("button", { type: "button", onclick: () => model.send({ type: "resume" }) }, words.resume);
  const live = make("p", { class: "wb-hidden", role: "status", "aria-live": "polite" });
  el.append(make("div", { class: "wb-progress-row" }, badge, bar, percent, cancel, resume), list, text, connection, live);

  let since = Date.now();
  let announced = { state: "", at: 0 };
  const announce = () => {
    const state = model.get("state");
    if (state === announced.state && Date.now() - announced.at < QUIET) return;
    announced = { state, at: Date.now() };
    setText(live, `${words[state] ?? state} ${percent.textContent} ${sentence(model, words)}`.trim());
  };
  const tick = () => {
    const entries = facts(model, words, since);
    if (list.childElementCount !== entries.length) list.replaceChildren(...entries.map(() => make("div", {}, make("dt"), make("dd"))));
    entries.forEach(([name, value], place) => {
      setText(list.children[place].children[0], name);
      setText(list.children[place].children[1], value);
    });
  };
  const draw = () => {
    const state = model.get("state");
    const share = model.get("total") ? Math.min(1, model.get("step") / model.get("total")) : 0;
    badge.dataset.state = state;
    setText(badge, `${MARKS[state] ?? "·"} ${words[state] ?? state}`);
    bar.value = share;
    setText(percent, number(model, share, { style: "percent", maximumFractionDigits: 0 }));
    setText(text, sentence(model, words));
    text.hidden = !text.textContent;
    text.classList.toggle("wb-trouble", state === "failed" || Boolean(model.get("error")));
    setText(connection, model.get("connection"));
    connection.hidden = !connection.textContent;
    cancel.hidden = !model.get("can_cancel");
    resume.hidden = !model.get("can_resume");
    since = Date.now();
    tick();
    announce();
  };
  const names = ["state", "step", "total", "elapsed", "remaining", "figures", "reason", "error", "connection", "can_cancel", "can_resume"];
  const stop = watch(model, names, draw);
  const clock = setInterval(tick, 1000);
  model.send({ type: "ready" });
  return () => {
    clearInterval(clock);
    stop();
  };
};
export default { render };
