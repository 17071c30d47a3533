const control = (field, id) => {
  const common = { id, name: field.name, "aria-describedby": `${id}-help ${id}-error`, autocomplete: "off" };
  if (field.kind === "choice") {
    return make("select", common, ...field.options.map(([value, label]) => make("option", { value }, label)));
  }
  const list = field.suggestions?.length ? `${id}-list` : null;
  const mode = field.kind === "number" ? "decimal" : null;
  return make("input", { ...common, type: "text", list, inputmode: mode, placeholder: field.placeholder, spellcheck: "false" });
};

const drawField = (field, report) => {
  const id = identifier();
  const input = control(field, id);
  const error = make("span", { id: `${id}-error`, class: "wb-form-error", role: "alert" });
  const box = make("div", { class: field.wide ? "wb-field wb-wide" : "wb-field" },
    make("label", { for: id }, field.label), input,
    field.suggestions?.length ? make("datalist", { id: `${id}-list` }, ...field.suggestions.map(([value, label]) => make("option", { value, label }))) : null,
    make("span", { id: `${id}-help`, class: "wb-quiet wb-form-help" }, field.help ?? ""), error);
  input.addEventListener("change", () => report(field.name, input.value));
  return { field, box, input, error };
};

const drawForm = (model, el, words) => {
  const parts = model.get("fields").map((field) => drawField(field, (name, value) => {
    model.set("values", { ...model.get("values"), [name]: value });
    model.save_changes();
  }));
  const boxes = (more) => parts.filter((part) => Boolean(part.field.more) === more).map((part) => part.box);
  const details = make("details", { class: "wb-form-more" }, make("summary", {}, words.more), make("div", { class: "wb-fields" }, ...boxes(true)));
  details.hidden = boxes(true).length === 0;
  const button = make("button", { type: "submit", class: "wb-main" }, model.get("action"));
  const notice = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  const collect = () => Object.fromEntries(parts.map((part) => [part.field.name, part.input.value]));
  const submit = (event) => {
    event.preventDefault();
    model.send({ type: "submit", values: collect() });
  };
  const form = make("form", { novalidate: true, onsubmit: submit, onkeydown: (event) => event.stopPropagation() },
    make("div", { class: "wb-fields" }, ...boxes(false)), details, make("div", { class: "wb-form-row" }, button), notice);
  el.replaceChildren(form);
  return { parts, details, button, notice };
};

const showErrors = (model, drawn) => {
  const errors = model.get("errors");
  for (const { field, input, error } of drawn.parts) {
    setText(error, errors[field.name] ?? "");
    error.hidden = !errors[field.name];
    input.setAttribute("aria-invalid", String(field.name in errors));
    if (field.more && field.name in errors) drawn.details.open = true;
  }
  setText(drawn.notice, model.get("notice"));
  drawn.notice.hidden = !model.get("notice");
};

const refocus = (model, drawn, name) => {
  const part = name && drawn.parts.find(({ field }) => field.name === name);
  if (!part) return;
  part.input.value = model.get("values")[name] ?? "";
  part.input.focus();
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-form");
  let drawn = null;
  const stop = [
    watch(model, ["fields", "action"], () => {
      const focused = el.contains(document.activeElement) ? document.activeElement.name : null;
      drawn = drawForm(model, el, words);
      showErrors(model, drawn);
      refocus(model, drawn, focused);
    }),
    watch(model, ["values", "fields"], () => {
      const values = model.get("values");
      for (const { field, input } of drawn.parts) if (document.activeElement !== input) input.value = values[field.name] ?? "";
    }),
    watch(model, ["errors", "notice"], () => showErrors(model, drawn)),
    watch(model, ["busy", "locked", "fields"], () => {
      drawn.button.disabled = model.get("busy") || model.get("locked");
      drawn.button.setAttribute("aria-busy", String(model.get("busy")));
    }),
  ];
  return () => stop.forEach((end) => end());
};
export default { render };
