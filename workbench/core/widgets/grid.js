const ROW = 32; // pixels
const SPACE = 8_000_000; // pixels, below what browsers can lay out
const PAGE = 100; // rows
const KEPT = 20; // pages

class Rows {
  constructor(model, changed) {
    this.model = model;
    this.pages = new Map();
    this.asked = new Set();
    this.changed = changed;
    this.listener = (message) => this.receive(message);
    model.on("msg:custom", this.listener);
  }
  clear() {
    this.pages.clear();
    this.asked.clear();
  }
  get(index) {
    const page = Math.floor(index / PAGE);
    if (!this.pages.has(page) && !this.asked.has(page)) {
      this.asked.add(page);
      this.model.send({ type: "rows", offset: page * PAGE, limit: PAGE, edition: this.model.get("edition") });
    }
    return this.pages.get(page)?.[index - page * PAGE];
  }
  receive(message) {
    if (message.type !== "rows" || message.edition !== this.model.get("edition")) return;
    const page = message.offset / PAGE;
    this.asked.delete(page);
    this.pages.set(page, message.rows);
    if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    this.changed();
  }
  close() {
    this.model.off("msg:custom", this.listener);
  }
}

const header = (columns) =>
  make("div", { class: "wb-grid-row wb-grid-head", role: "row", "aria-rowindex": 1 },
    ...columns.map((column) => make("span", { role: "columnheader" }, column.label)));

const drawRow = (line, index, columns, row, selected) => {
  line.setAttribute("aria-rowindex", index + 2);
  line.dataset.index = index;
  line.classList.toggle("wb-selected", selected);
  line.setAttribute("aria-selected", String(selected));
  columns.forEach((column, place) => {
    const cell = line.children[place];
    setText(cell, row ? String(row[column.key] ?? "").replace(/\s+/g, " ").slice(0, 400) : "…");
  });
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-grid");
  const id = identifier();
  const view = make("div", { class: "wb-grid-view", role: "grid", tabindex: 0, "aria-label": words.label });
  const empty = make("p", { class: "wb-quiet" }, words.empty);
  const detail = make("dl", { class: "wb-grid-detail", "aria-live": "polite" });
  const trouble = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  el.append(view, trouble, empty, detail);
  const spacer = make("div", { class: "wb-grid-space", role: "presentation" });
  let lines = [];
  let selected = -1;
  const rows = new Rows(model, () => draw());
  const total = () => model.get("total");
  const visible = () => Math.max(1, Math.ceil((view.clientHeight || 10 * ROW) / ROW));
  const height = () => Math.min(SPACE, total() * ROW);
  const room = () => Math.max(1, height() - (visible() - 1) * ROW);
  const first = () => {
    if (height() < SPACE) return Math.floor(view.scrollTop / ROW);
    return Math.floor(Math.min(1, view.scrollTop / room()) * Math.max(0, total() - visible() + 1));
  };

  const showDetail = () => {
    const row = selected >= 0 ? rows.get(selected) : undefined;
    detail.hidden = !row;
    if (!row) return;
    detail.replaceChildren(...model.get("columns").flatMap((column) => [make("dt", {}, column.label), make("dd", {}, String(row[column.key] ?? ""))]));
  };
  const draw = () => {
    const columns = model.get("columns");
    const start = Math.max(0, Math.min(first(), total() - lines.length));
    lines.forEach((line, place) => {
      const index = start + place;
      line.hidden = index >= total();
      if (line.hidden) return;
      const scaled = height() < SPACE ? index * ROW : view.scrollTop - (view.scrollTop % ROW) + place * ROW;
      line.style.transform = `translateY(${scaled}px)`;
      drawRow(line, index, columns, rows.get(index), index === selected);
      line.id = `${id}-${index}`;
    });
    if (selected >= 0) view.setAttribute("aria-activedescendant", `${id}-${selected}`);
    showDetail();
  };
  const build = () => {
    const columns = model.get("columns");
    rows.clear();
    selected = -1;
    view.style.setProperty("--wb-columns", columns.map((column) => column.width).join(" "));
    view.setAttribute("aria-rowcount", total() + 1);
    view.setAttribute("aria-colcount", columns.length);
    view.hidden = total() === 0;
    empty.hidden = total() !== 0;
    spacer.style.height = `${height()}px`;
    const count = Math.min(total(), visible() + 4);
    lines = Array.from({ length: count }, () =>
      make("div", { class: "wb-grid-row", role: "row" }, ...columns.map(() => make("span", { role: "gridcell" }))));
    spacer.replaceChildren(...lines);
    view.replaceChildren(header(columns), spacer);
    view.scrollTop = 0;
    draw();
  };
  const reveal = () => {
    const top = first();
    const shown = visible() - 2;
    if (selected >= top && selected < top + shown) return;
    const wanted = selected < top ? selected : selected - shown + 1;
    view.scrollTop = height() < SPACE ? wanted * ROW : (wanted / Math.max(1, total() - visible() + 1)) * room();
  };
  const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  view.addEventListener("keydown", (event) => {
    if (!(event.key in move) || !total()) return;
    event.preventDefault();
    event.stopPropagation();
    selected = Math.max(0, Math.min(total() - 1, selected + move[event.key]));
    reveal();
    draw();
  });
  view.addEventListener("click", (event) => {
    const line = event.target.closest("[data-index]");
    if (!line) return;
    selected = Number(line.dataset.index) === selected ? -1 : Number(line.dataset.index);
    draw();
  });
  view.addEventListener("scroll", draw, { passive: true });
  const stop = [
    watch(model, ["columns", "total", "edition"], build),
    watch(model, ["trouble"], () => {
      setText(trouble, model.get("trouble"));
      trouble.hidden = !model.get("trouble");
    }),
  ];
  return () => {
    rows.close();
    stop.forEach((end) => end());
  };
};
export default { render };
