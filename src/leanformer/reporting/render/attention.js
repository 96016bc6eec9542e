for (const panel of document.querySelectorAll(".panel")) {
  const {tokens, weights} = JSON.parse(panel.querySelector("script").textContent);
  const find = (what) => panel.querySelector(what);
  const [map, cursor, reading] = [find("svg"), find(".cursor"), find(".reading")];
  const [rows, columns] = [panel.querySelectorAll(".row"), panel.querySelectorAll(".column")];
  const [margin, cell] = [Number(map.dataset.margin), Number(map.dataset.cell)];
  let chosen = find("button.on");

  function mark(i, j) {
    rows.forEach((text, at) => text.classList.toggle("on", at === i));
    columns.forEach((text, at) => text.classList.toggle("on", at === j));
    const inside = i >= 0 && j >= 0 && i < tokens.length && j < tokens.length;
    cursor.setAttribute("visibility", inside ? "visible" : "hidden");
    reading.textContent = "\u00a0";
    if (!inside) return;
    cursor.setAttribute("x", margin + cell * j);
    cursor.setAttribute("y", margin + cell * i);
    const weight = weights[chosen.dataset.layer][chosen.dataset.head][i][j];
    reading.textContent = `${tokens[i]} attends to ${tokens[j]}: ${weight.toFixed(3)}`;
  }

  panel.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    chosen.classList.remove("on");
    chosen = button;
    chosen.classList.add("on");
    find("svg image").setAttribute("href", button.firstChild.src);
    find(".chosen b").textContent = button.title;
    find(".facts").textContent = button.dataset.facts;
    mark(-1, -1);
  });
  map.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    mark(Math.floor((at.y - margin) / cell), Math.floor((at.x - margin) / cell));
  });
  map.addEventListener("pointerleave", () => mark(-1, -1));
}
