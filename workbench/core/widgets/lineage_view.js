const SVG = "http://www.w3.org/2000/svg";

const path = (box, from, to) => {
  const [a, b, frame] = [from.getBoundingClientRect(), to.getBoundingClientRect(), box.getBoundingClientRect()];
  const sideways = b.left >= a.right;
  const [x1, y1] = sideways ? [a.right, a.top + a.height / 2] : [a.left + 18, a.bottom];
  const [x2, y2] = sideways ? [b.left, b.top + b.height / 2] : [b.left + 18, b.top];
  const [left, top] = [box.scrollLeft - frame.left, box.scrollTop - frame.top];
  const bend = sideways ? (x2 - x1) / 2 : (y2 - y1) / 2;
  const turn = sideways ? `${x1 + bend + left},${y1 + top} ${x2 - bend + left},${y2 + top}` : `${x1 + left},${y1 + bend + top} ${x2 + left},${y2 - bend + top}`;
  return `M${x1 + left},${y1 + top} C${turn} ${x2 + left},${y2 + top}`;
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-lineage");
  const box = make("div", { class: "wb-lineage-box", role: "group", "aria-label": words.label });
  const empty = make("p", { class: "wb-quiet" }, words.empty);
  el.append(box, empty);
  let cards = new Map();
  const connect = () => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("width", box.scrollWidth);
    svg.setAttribute("height", box.scrollHeight);
    for (const edge of model.get("edges")) {
      const line = document.createElementNS(SVG, "path");
      line.setAttribute("d", path(box, cards.get(edge.source), cards.get(edge.target)));
      const title = document.createElementNS(SVG, "title");
      title.textContent = edge.relation;
      line.append(title);
      svg.append(line);
    }
    box.querySelector("svg")?.remove();
    box.prepend(svg);
  };
  const reasons = (id) => model.get("edges").filter((edge) => edge.target === id).map((edge) => edge.relation).join(", ");
  const card = (node) => {
    const choose = () => {
      model.set("value", node.id);
      model.save_changes();
    };
    return make("button", { type: "button", class: "wb-node", "data-kind": node.kind, onclick: choose, title: `${node.ref}\n${reasons(node.id)}`.trim() },
      make("small", {}, words[node.kind] ?? node.kind), make("strong", {}, node.label), node.detail ? make("span", { class: "wb-quiet" }, node.detail) : null);
  };
  const draw = () => {
    const nodes = model.get("nodes");
    const depth = Math.max(-1, ...nodes.map((node) => node.layer)) + 1;
    cards = new Map(nodes.map((node) => [node.id, card(node)]));
    const columns = Array.from({ length: depth }, (_, layer) =>
      make("div", { class: "wb-layer" }, ...nodes.filter((node) => node.layer === layer).map((node) => cards.get(node.id))));
    box.replaceChildren(...columns);
    empty.hidden = nodes.length > 0;
    box.hidden = nodes.length === 0;
    mark();
    requestAnimationFrame(connect);
  };
  const mark = () => {
    for (const [id, node] of cards) node.setAttribute("aria-current", String(id === model.get("value")));
  };
  const sizes = new ResizeObserver(() => requestAnimationFrame(connect));
  const stop = [watch(model, ["nodes", "edges"], draw), watch(model, ["value"], mark)];
  sizes.observe(box);
  return () => {
    sizes.disconnect();
    stop.forEach((end) => end());
  };
};
export default { render };
