const save = (content, buffer) => {
  const url = URL.createObjectURL(new Blob([buffer], { type: content.content_type }));
  const link = make("a", { href: url, download: content.filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
};

const render = ({ model, el }) => {
  const words = model.get("words");
  el.classList.add("wb", "wb-download");
  const bar = make("div", { class: "wb-chips", role: "group", "aria-label": words.label });
  const trouble = make("p", { class: "wb-sentence wb-trouble", role: "alert" });
  el.append(bar, trouble);
  let wanted = false;
  const receive = (content, buffers) => {
    if (content.type !== "file" || !wanted) return;
    wanted = false;
    save(content, buffers[0]);
  };
  model.on("msg:custom", receive);
  const fetchFile = (name) => {
    wanted = true;
    model.send({ type: "fetch", name });
  };
  const stop = [
    watch(model, ["files"], () => bar.replaceChildren(make("span", {}, words.label), ...model.get("files").map(([name, label]) =>
      make("button", { type: "button", "data-file": name, onclick: () => fetchFile(name) }, label)))),
    watch(model, ["trouble"], () => {
      setText(trouble, model.get("trouble"));
      trouble.hidden = !trouble.textContent;
    }),
  ];
  return () => {
    model.off("msg:custom", receive);
    stop.forEach((end) => end());
  };
};
export default { render };
