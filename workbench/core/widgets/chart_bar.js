const fit = (box) => {
  for (const chart of box.querySelectorAll(".js-plotly-plot")) {
    const drawn = Number(chart.querySelector(".main-svg")?.getAttribute("width"));
    if (drawn && chart.clientWidth && Math.abs(drawn - chart.clientWidth) > 1) window.dispatchEvent(new Event("resize"));
  }
};

const render = ({ model, el }) => {
  el.classList.add("wb", "wb-choice");
  const stop = drawChoice(model, el);
  const sizes = new ResizeObserver(() => requestAnimationFrame(() => fit(box)));
  let box = el;
  requestAnimationFrame(() => {
    box = el.closest(".wb-chart-box") ?? el;
    sizes.observe(box);
  });
  return () => {
    sizes.disconnect();
    stop();
  };
};
export default { render };
