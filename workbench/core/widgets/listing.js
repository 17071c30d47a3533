const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-listing");
  const table = make("table", { role: "grid", "aria-label": model.get("label") });
  const empty = make("p", { class: "wb-quiet" });
  el.append(table, empty);
  const choose = (id) => {
    model.set("value", id);
    model.save_changes();
  };
  const move = (event) => {
    const rows = [...table.querySelectorAll("tbody tr")];
    const place = rows.indexOf(event.currentTarget);
    const target = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(event.currentTarget.dataset.id);
    else if (target === undefined || !rows[target]) return;
    else rows[target].focus();
    event.preventDefault();
    event.stopPropagation();
  };
  const times = new Intl.DateTimeFormat(model.get("language"), { dateStyle: "short", timeStyle: "short" });
  const time = (value) => times.format(new Date(value));
  const cell = (column, row) => {
    const value = column.time && row[column.key] ? time(row[column.key]) : row[column.key] ?? "";
    const shown = column.badge ? make("span", { class: "wb-badge", "data-state": row[column.badge] }, value) : value;
    return make("td", { class: `${column.minor ? "wb-minor" : ""} ${column.number ? "wb-number" : ""}` }, shown);
  };
  const drawRows = () => {
    const columns = model.get("columns");
    const rows = model.get("rows");
    const focused = table.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const head = columns.map((column) => make("th", { scope: "col", class: `${column.minor ? "wb-minor" : ""} ${column.number ? "wb-number" : ""}` }, column.label));
    const body = rows.map((row) =>
      make("tr", { tabindex: "-1", "data-id": row.id, onclick: () => choose(row.id), onkeydown: move }, ...columns.map((column) => cell(column, row))));
    table.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
    table.hidden = rows.length === 0;
    setText(empty, model.get("empty") || words.empty);
    empty.hidden = rows.length > 0;
    drawChoice();
    if (focused) table.querySelector(`tr[data-id="${CSS.escape(focused)}"]`)?.focus();
  };
  const drawChoice = () => {
    const rows = [...table.querySelectorAll("tbody tr")];
    const chosen = rows.find((row) => row.dataset.id === model.get("value"));
    for (const row of rows) {
      row.setAttribute("aria-selected", String(row === chosen));
      row.tabIndex = row === (chosen ?? rows[0]) ? 0 : -1;
    }
  };
  const stop = [watch(model, ["columns", "rows", "empty"], drawRows), watch(model, ["value"], drawChoice)];
  return () => stop.forEach((end) => end());
};
export default { render };
