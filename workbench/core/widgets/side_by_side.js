const MARK = { true: "✓", false: "✕" };
const FILTERS = {
  all: () => true,
  gained: (sample) => !sample.base_right && sample.tuned_right,
  lost: (sample) => sample.base_right && !sample.tuned_right,
  both: (sample) => sample.base_right && sample.tuned_right,
  neither: (sample) => !sample.base_right && !sample.tuned_right,
};

const scoreTable = (model, words) => {
  const head = ["metric", "base", "tuned"].map((key) => make("th", { scope: "col" }, words[key]));
  const rows = model.get("scores").map((score) =>
    make("tr", {}, make("th", { scope: "row" }, score.label),
      ...["base", "tuned"].map((side) => make("td", { class: score.better === side ? "wb-better" : null }, score.better === side ? `${score[side]} ▲` : score[side]))));
  return make("table", {}, make("caption", { class: "wb-hidden" }, words.caption), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
};

const answer = (words, side, text, right) =>
  make("div", { class: "wb-answer", "data-right": String(right) },
    make("h4", {}, words[side], make("span", { class: "wb-mark" }, `${MARK[right]} ${right ? words.right : words.wrong}`)),
    make("p", {}, text || "—"));

const card = (words, sample) =>
  make("li", { class: "wb-sample" },
    make("dl", {}, make("dt", {}, words.prompt), make("dd", {}, sample.prompt), make("dt", {}, words.expected), make("dd", {}, sample.expected)),
    make("div", { class: "wb-answers" }, answer(words, "base", sample.base, sample.base_right), answer(words, "tuned", sample.tuned, sample.tuned_right)));

const PAGE = 20;

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-compare");
  const verdict = make("p", { class: "wb-verdict", role: "status" });
  const table = make("div", { class: "wb-table" });
  const chips = make("div", { class: "wb-chips", role: "group", "aria-label": words.filter });
  const list = make("ol", { class: "wb-samples" });
  const none = make("p", { class: "wb-quiet" }, words.none);
  const more = make("button", { type: "button" }, words.more);
  el.append(verdict, table, chips, list, none, more);
  let filter = "all";
  let shown = PAGE;
  const drawSamples = () => {
    const samples = model.get("samples");
    chips.hidden = samples.length === 0;
    chips.replaceChildren(...Object.entries(FILTERS).map(([name, test]) =>
      make("button", { type: "button", "data-filter": name, "aria-pressed": String(name === filter), onclick: () => choose(name) },
        `${words[name]} (${number(model, samples.filter(test).length)})`)));
    const matching = samples.filter(FILTERS[filter]);
    list.replaceChildren(...matching.slice(0, shown).map((sample) => card(words, sample)));
    none.hidden = matching.length > 0 || samples.length === 0;
    more.hidden = matching.length <= shown;
  };
  const choose = (name) => {
    filter = name;
    shown = PAGE;
    drawSamples();
    chips.querySelector(`[data-filter="${name}"]`).focus();
  };
  more.addEventListener("click", () => {
    shown += PAGE;
    drawSamples();
  });
  const stop = [
    watch(model, ["verdict", "sentence"], () => {
      verdict.dataset.verdict = model.get("verdict");
      setText(verdict, model.get("sentence"));
      verdict.hidden = !verdict.textContent;
    }),
    watch(model, ["scores"], () => table.replaceChildren(...(model.get("scores").length ? [scoreTable(model, words)] : []))),
    watch(model, ["samples"], drawSamples),
  ];
  return () => stop.forEach((end) => end());
};
export default { render };
