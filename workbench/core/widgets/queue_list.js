const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-queue");
  const help = make("p", { class: "wb-quiet" }, words.help);
  const list = make("ol", { "aria-label": words.title });
  const empty = make("p", { class: "wb-quiet" }, words.empty);
  const trouble = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  const said = make("p", { class: "wb-hidden", role: "status", "aria-live": "polite" });
  el.append(help, list, empty, trouble, said);

  let dragged = null;
  const line = () => model.get("entries").filter((entry) => entry.movable).map((entry) => entry.id);
  // where a job may go: among the movable ones without itself, before the one at `place`
  const moveTo = (id, place) => {
    const ids = line();
    const others = ids.filter((other) => other !== id);
    if (place < 0 || place > others.length || place === ids.indexOf(id)) return;
    model.send({ type: "move", id, before: others[place] ?? null });
    setText(said, fill(words.moving, { title: model.get("entries").find((entry) => entry.id === id).title }));
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
    event.stopPropagation();
  };
  const over = (event) => {
    if (dragged === null) return;
    event.preventDefault();
    const { top, height } = event.currentTarget.getBoundingClientRect();
    event.currentTarget.dataset.drop = event.clientY < top + height / 2 ? "before" : "after";
  };
  const leave = (event) => delete event.currentTarget.dataset.drop;
  const drop = (event) => {
    event.preventDefault();
    const target = event.currentTarget;
    const others = line().filter((id) => id !== dragged);
    const at = others.indexOf(target.dataset.id);
    if (at >= 0) moveTo(dragged, at + (target.dataset.drop === "after" ? 1 : 0));
    delete target.dataset.drop;
  };
  const button = (entry, action, sign, disabled) =>
    make("button", { type: "button", "data-action": action, title: words[action], "aria-label": `${words[action]}: ${entry.title}`, disabled, onclick: () => act[action](entry.id) }, sign);
  const item = (entry, ids) => {
    const at = ids.indexOf(entry.id);
    const buttons = [
      ...(entry.movable && ids.length > 1 ? [button(entry, "first", "⤒", at === 0), button(entry, "up", "↑", at === 0), button(entry, "down", "↓", at === ids.length - 1)] : []),
      ...(entry.cancellable ? [button(entry, "cancel", "✕", false)] : []),
    ];
    const moves = entry.movable ? { draggable: "true", ondragstart: () => { dragged = entry.id; }, ondragend: () => { dragged = null; }, ondragover: over, ondragleave: leave, ondrop: drop } : {};
    return make("li", { tabindex: "0", "data-id": entry.id, onkeydown: press, ...moves },
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
    const id = focus?.closest("li").dataset.id;
    const ids = line();
    list.replaceChildren(...entries.map((entry) => item(entry, ids)));
    list.hidden = help.hidden = entries.length === 0;
    help.hidden ||= ids.length < 2;
    empty.hidden = entries.length > 0;
    if (id === undefined) return;
    const again = list.querySelector(`li[data-id="${CSS.escape(id)}"]`);
    const same = action ? again?.querySelector(`[data-action="${action}"]:not(:disabled)`) : null;
    (same ?? again)?.focus();
  };
  const stop = [
    watch(model, ["entries"], draw),
    watch(model, ["error"], () => { setText(trouble, model.get("error")); trouble.hidden = !model.get("error"); }),
  ];
  return () => stop.forEach((end) => end());
};
export default { render };
