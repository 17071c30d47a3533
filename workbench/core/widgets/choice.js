const render = ({ model, el }) => {
  el.classList.add("wb", "wb-choice");
  return drawChoice(model, el);
};
export default { render };
