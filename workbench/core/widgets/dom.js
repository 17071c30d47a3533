const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);

const number = (model, value, options = {}) => new Intl.NumberFormat(model.get("language"), options).format(value);

const size = (model, bytes) => {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const options = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
  return number(model, bytes / 1000 ** power, options);
};

const watch = (model, names, action) => {
  const events = names.map((name) => `change:${name}`).join(" ");
  model.on(events, action);
  action();
  return () => model.off(events, action);
};

let identifiers = 0;
const identifier = () => `wb-${++identifiers}-${Math.random().toString(36).slice(2, 8)}`;

const drawChoice = (model, el) => {
  const id = identifier();
  const select = make("select", { id, onchange: () => { model.set("value", select.value); model.save_changes(); } });
  el.append(make("label", { for: id }, model.get("label")), select);
  return watch(model, ["options", "value"], () => {
    const entries = model.get("options");
    if (entries.length !== select.length || entries.some(([value, label], place) => select[place].value !== value || select[place].text !== label)) {
      select.replaceChildren(...entries.map(([value, label]) => make("option", { value }, label)));
    }
    select.value = model.get("value");
  });
};
