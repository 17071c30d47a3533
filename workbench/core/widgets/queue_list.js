const PATIENCE = 10_000; // milliseconds for an answer, which a dead kernel never gives

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-queue");
  const help = make("p", { class: "wb-quiet" }, words.help);
  const list = make("ol", { "aria-label": words.title });
  const more = make("p", { class: "wb-quiet" }, words.more);
  const empty = make("p", { class: "wb-quiet", tabindex: "-1" }, words.empty);
  const trouble = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  const said = make("p", { class: "wb-hidden", role: "status", "aria-live": "polite" });
  el.append(help, list, more, empty, trouble, said);

  let dragged = null;
  let wish = null; // the move that is not answered yet: a second one would start from a line that is no more
  const line = () => model.get("entries").filter((entry) => entry.movable).map((entry) => entry.id);
  // behind the last one that is shown may wait others, so that it is not the end
  const end = (ids) => (model.get("cut") ? ids.length - 2 : ids.length - 1);
  // where a job may go: among the movable ones without itself, before the one at `place`
  const moveTo = (id, place) => {
    const ids = line();
    const others = ids.filter((other) => other !== id);
    const waits = wish !== null && Date.now() - wish.at < PATIENCE;
    if (waits || !ids.includes(id) || place < 0 || place > end(ids) || place === ids.indexOf(id)) return;
    wish = { id, number: identifier(), at: Date.now() };
    model.send({ type: "move", id, before: others[place] ?? null, wish: wish.number });
  };
  const answered = (content) => {
    if (content.type !== "moved" || content.wish !== wish?.number) return;
    const entry = model.get("entries").find(({ id }) => id === wish.id);
    if (entry && !model.get("error")) setText(said, fill(words.moved, entry));
    wish = null;
  };
  const place = (id) => line().indexOf(id);
  const act = { first: (id) => moveTo(id, 0), up: (id) => moveTo(id, place(id) - 1), down: (id) => moveTo(id, place(id) + 1), cancel: (id) => model.send({ type: "cancel", id }) };
  const press = (event) => {
    const action = event.altKey ? { ArrowUp: "up", ArrowDown: "down", Home: "first" }[event.key] : null;
    const items = [...list.children];
    const next = event.altKey ? undefined : { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (action && event.currentTarget.draggable) act[action](event.currentTarget.dataset.id);
    else if (next && event.target === event.currentTarget) items[items.indexOf(event.currentTarget) + next]?.focus();
    else return;
    event.preventDefault();
  };
  const half = (event) => {
    const { top, height } = event.currentTarget.getBoundingClientRect();
    return event.clientY < top + height / 2 ? "before" : "after";
  };
  const over = (event) => {
    if (dragged === null) return;
    event.preventDefault();
    event.currentTarget.dataset.drop = half(event);
  };
  const leave = (event) => delete event.currentTarget.dataset.drop;
  const drop = (event) => {
    event.preventDefault();
    delete event.currentTarget.dataset.drop;
    const others = line().filter((id) => id !== dragged);
    const at = others.indexOf(event.currentTarget.dataset.id);
    if (dragged !== null && at >= 0) moveTo(dragged, at + (half(event) === "after" ? 1 : 0));
  };
  const button = (entry, action, sign, disabled) =>
    make("button", { type: "button", "data-action": action, title: words[action], "aria-label": `${words[action]}: ${entry.title}`, disabled, onclick: () => act[action](entry.id) }, sign);
  const item = (entry, ids) => {
    const at = ids.indexOf(entry.id);
    const buttons = [
      ...(entry.movable && ids.length > 1 ? [button(entry, "first", "⤒", at === 0), button(entry, "up", "↑", at === 0), button(entry, "down", "↓", at >= end(ids))] : []),
      ...(entry.cancellable ? [button(entry, "cancel", "✕", false)] : []),
    ];
    const moves = entry.movable ? { draggable: "true", ondragstart: () => { dragged = entry.id; }, ondragend: () => { dragged = null; }, ondragover: over, ondragleave: leave, ondrop: drop } : {};
    const name = [entry.place, entry.title, entry.state_word, entry.reason].filter(Boolean).join(", ");
    return make("li", { tabindex: "0", "data-id": entry.id, "aria-label": name, "aria-keyshortcuts": entry.movable ? "Alt+ArrowUp Alt+ArrowDown Alt+Home" : null, onkeydown: press, ...moves },
      make("span", { class: "wb-queue-place" }, entry.place),
      make("div", { class: "wb-queue-job" },
        make("div", {}, make("strong", {}, entry.title), " ", make("span", { class: "wb-quiet" }, entry.detail)),
        entry.reason ? make("div", { class: "wb-quiet" }, entry.reason) : null),
      make("span", { class: "wb-badge", "data-state": entry.state }, entry.state_word),
      make("span", { class: "wb-queue-buttons" }, ...buttons));
  };
  const draw = () => {
    const entries = model.get("entries");
    const focus = list.contains(document.activeElement) ? document.activeElement : null;
    const { action } = focus?.dataset ?? {};
    const held = focus?.closest("li") ?? null;
    const at = [...list.children].indexOf(held);
    const ids = line();
    list.replaceChildren(...entries.map((entry) => item(entry, ids)));
    list.hidden = entries.length === 0;
    help.hidden = ids.length < 2;
    more.hidden = !model.get("cut");
    empty.hidden = entries.length > 0;
    if (!held) return;
    if (entries.length === 0) empty.focus({ preventScroll: true });
    // the one that had the focus, or the one that is now where it was
    const again = list.querySelector(`li[data-id="${CSS.escape(held.dataset.id)}"]`) ?? list.children[Math.min(at, entries.length - 1)];
    const same = action ? again?.querySelector(`[data-action="${action}"]:not(:disabled)`) : null;
    (same ?? again)?.focus({ preventScroll: true });
  };
  // JupyterLab's own keys, such as Delete for a cell, are not meant here
  el.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && event.key !== "Tab") event.stopPropagation();
  });
  model.on("msg:custom", answered);
  const stop = [
    () => model.off("msg:custom", answered),
    watch(model, ["entries", "cut"], draw),
    watch(model, ["error"], () => { setText(trouble, model.get("error")); trouble.hidden = !model.get("error"); }),
  ];
  return () => stop.forEach((end) => end());
};
export default { render };
