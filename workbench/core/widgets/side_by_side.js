const MARK = { true: "✓", false: "✕" };
const VERDICT = { better: "▲", worse: "▼", noise: "≈" };
const FILTERS = ["all", "gained", "lost", "both", "neither"];
const SORTS = ["row", "gain", "loss"];
const TYPING = 250; // milliseconds without a key before a search begins

const mark = (words, verdict) =>
  make("span", { class: "wb-mark", "data-verdict": verdict }, verdict ? `${VERDICT[verdict]} ${words[verdict]}` : "");

const scoreTable = (scores, words) => {
  const compared = scores.some((score) => score.verdict);
  const keys = ["metric", "base", "tuned", ...(compared ? ["difference", "verdict"] : [])];
  const rows = scores.map((score) =>
    make("tr", {}, make("th", { scope: "row" }, score.label),
      ...["base", "tuned"].map((side) => make("td", { "data-label": words[side] }, score[side])),
      ...(compared ? [make("td", { "data-label": words.difference }, score.difference), make("td", {}, mark(words, score.verdict))] : [])));
  const head = keys.map((key) => make("th", { scope: "col" }, words[key]));
  return make("table", {}, make("caption", { class: "wb-hidden" }, words.caption), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
};

const answer = (words, side, text, right, figures) =>
  make("div", { class: "wb-answer", "data-right": String(right) },
    make("h4", {}, words[side], make("span", { class: "wb-mark" }, `${MARK[right]} ${right ? words.right : words.wrong}${figures ? ` · ${figures}` : ""}`)),
    make("p", {}, text || "—"));

const card = (words, sample) =>
  make("li", { class: "wb-sample" },
    make("dl", {}, make("dt", {}, words.prompt), make("dd", {}, sample.prompt), make("dt", {}, words.expected), make("dd", {}, sample.expected)),
    make("div", { class: "wb-answers" },
      ...["base", "tuned"].filter((side) => side in sample).map((side) => answer(words, side, sample[side], sample[`${side}_right`], sample[`${side}_figures`]))));

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-compare");
  const verdict = make("p", { class: "wb-verdict", role: "status" });
  const detail = make("p", { class: "wb-sentence wb-quiet" });
  const table = make("div", { class: "wb-table" });
  const chips = make("div", { class: "wb-chips", role: "group", "aria-label": words.filter });
  const [searchId, sortId] = [identifier(), identifier()];
  const search = make("input", { id: searchId, type: "search", maxlength: 200, value: model.get("search") });
  const sort = make("select", { id: sortId }, ...SORTS.map((name) => make("option", { value: name }, words[`sort_${name}`])));
  const tools = make("div", { class: "wb-tools" },
    make("label", { for: searchId }, words.search), search, make("label", { for: sortId }, words.sort), sort);
  const list = make("ol", { class: "wb-samples" });
  const none = make("p", { class: "wb-quiet" }, words.none);
  const trouble = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  const previous = make("button", { type: "button", "data-page": "previous" }, words.previous);
  const next = make("button", { type: "button", "data-page": "next" }, words.next);
  const place = make("span", { class: "wb-quiet", role: "status" });
  const pager = make("div", { class: "wb-pager" }, previous, place, next);
  el.append(verdict, detail, table, chips, tools, trouble, list, none, pager);
  const ask = (changes) => {
    const state = Object.fromEntries(["filter", "sort"].map((name) => [name, model.get(name)]));
    model.send({ type: "ask", ...state, search: search.value, offset: 0, ...changes });
  };
  let typing;
  const drawSamples = () => {
    const [samples, offset, total, counts] = ["samples", "offset", "total", "counts"].map((name) => model.get(name));
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.filter : null;
    chips.replaceChildren(...FILTERS.map((name) =>
      make("button", { type: "button", "data-filter": name, "aria-pressed": String(name === model.get("filter")), onclick: () => ask({ filter: name }) },
        `${words[name]} (${number(model, counts[name] ?? 0)})`)));
    if (focused) chips.querySelector(`[data-filter="${focused}"]`).focus();
    list.replaceChildren(...samples.map((sample) => card(words, sample)));
    list.scrollTop = 0;
    sort.value = model.get("sort");
    const empty = counts.all === undefined;
    chips.hidden = tools.hidden = empty;
    none.hidden = empty || samples.length > 0;
    pager.hidden = total <= model.get("page_rows");
    previous.disabled = offset === 0;
    next.disabled = offset + samples.length >= total;
    setText(place, fill(words.place, { first: number(model, offset + 1), last: number(model, offset + samples.length), total: number(model, total) }));
  };
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => ask({}), TYPING);
  });
  sort.addEventListener("change", () => ask({ sort: sort.value }));
  previous.addEventListener("click", () => ask({ offset: Math.max(0, model.get("offset") - model.get("page_rows")) }));
  next.addEventListener("click", () => ask({ offset: model.get("offset") + model.get("page_rows") }));
  const stop = [
    watch(model, ["verdict", "sentence", "detail"], () => {
      verdict.dataset.verdict = model.get("verdict");
      setText(verdict, model.get("sentence"));
      setText(detail, model.get("detail"));
      verdict.hidden = !verdict.textContent;
      detail.hidden = !detail.textContent;
    }),
    watch(model, ["scores"], () => table.replaceChildren(...(model.get("scores").length ? [scoreTable(model.get("scores"), words)] : []))),
    watch(model, ["trouble"], () => {
      setText(trouble, model.get("trouble"));
      trouble.hidden = !trouble.textContent;
    }),
    watch(model, ["edition"], drawSamples),
  ];
  return () => {
    clearTimeout(typing);
    stop.forEach((end) => end());
  };
};
export default { render };
