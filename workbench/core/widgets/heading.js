const render = ({ model, el }) => {
  el.classList.add("wb", "wb-heading");
  const title = make("h2");
  const note = make("p", { class: "wb-quiet" });
  el.append(title, note);
  return watch(model, ["title", "note"], () => {
    setText(title, model.get("title"));
    setText(note, model.get("note"));
    note.hidden = !model.get("note");
  });
};
export default { render };
