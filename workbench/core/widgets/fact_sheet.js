const render = ({ model, el }) => {
  el.classList.add("wb", "wb-fact-sheet");
  const list = make("dl", {});
  el.append(list);
  return watch(model, ["facts"], () => {
    list.replaceChildren(...model.get("facts").map(([name, value, code]) => make("div", { class: code ? "wb-wide" : null }, make("dt", {}, name), make("dd", {}, code ? make("code", {}, value) : value))));
    el.hidden = list.childElementCount === 0;
  });
};
export default { render };
