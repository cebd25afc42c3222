"use strict";
// Draws the figures and moves the contact budget. Everything it needs is in the JSON block #report-data.
(() => {
  const page = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const config = { displayModeBar: false, responsive: false };
  let share = page.budget.share;

  // Figures name their colours as var(--accent); only keys that hold colours are resolved, never user text.
  function themed(value, key, style) {
    if (Array.isArray(value)) return value.map((item) => themed(item, key, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, themed(item, name, style)]));
    }
    if (typeof value === "string" && key.endsWith("color") && value.startsWith("var(")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    return value;
  }

  function drawAll() {
    const style = getComputedStyle(root);
    for (const element of document.querySelectorAll("[data-figure]")) {
      const figure = themed(page.figures[element.dataset.figure], "", style);
      Plotly.react(element, figure.data, { ...figure.layout, width: element.clientWidth }, config);
    }
    moveLines();
  }

  function moveLines() {
    for (const name of ["gains", "lift"]) {
      const element = document.querySelector(`[data-figure="${name}"]`);
      if (element) Plotly.relayout(element, { "shapes[0].x0": share, "shapes[0].x1": share });
    }
  }

  // The same arithmetic as remedi_spark.reporting.budget.at_budget.
  function recallAt(curve, at) {
    let [x, y] = [0, 0];
    for (let i = 0; i < curve.share.length; i += 1) {
      if (curve.share[i] >= at) return y + ((curve.recall[i] - y) * (at - x)) / (curve.share[i] - x);
      [x, y] = [curve.share[i], curve.recall[i]];
    }
    return y;
  }

  function significant(value) {
    if (value === 0) return "0";
    const magnitude = Math.floor(Math.log10(Math.abs(Number(value.toExponential(2)))));
    const decimals = Math.max(0, 2 - magnitude);
    return Number(value.toPrecision(3)).toLocaleString("en-US", {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals,
    });
  }

  const whole = (value) => Math.floor(value + 0.5).toLocaleString("en-US");
  const percent = (value) => `${significant(100 * value)}\u202f%`;

  function showBudget() {
    const { rows, reachable, amounts, curves } = page.budget;
    for (const role of [...Object.keys(curves), "random"]) {
      const recall = role === "random" ? share : recallAt(curves[role], share);
      const lift = recall / share;
      const cell = (name) => document.querySelector(`[data-key="${role}-${name}"]`);
      const write = (name, text) => { cell(name).querySelector(".value").textContent = text; };
      write("reached", whole(recall * reachable));
      write("recall", percent(recall));
      write("precision", (amounts ? significant : percent)((lift * reachable) / rows));
      write("lift", significant(lift));
      cell("recall").querySelector(".bar").style.setProperty("--share", recall);
    }
    document.getElementById("budget-said").textContent =
      `Best ${Number((100 * share).toPrecision(4))}\u202f%: ${whole(share * rows)} of ${whole(rows)} ${page.budget.owners}`;
    moveLines();
  }

  function listenToBudget() {
    const range = document.getElementById("budget-range");
    if (!range) return;
    const exact = document.getElementById("budget-number");
    const moved = (from, to) => () => {
      const value = Number(from.value);
      if (!(value > 0 && value <= 100)) return;
      to.value = value;
      share = value / 100;
      showBudget();
    };
    range.addEventListener("input", moved(range, exact));
    exact.addEventListener("input", moved(exact, range));
    document.getElementById("budget-control").addEventListener("submit", (event) => event.preventDefault());
    showBudget();
  }

  // Plotly's own "responsive" hears the window only, not a scroll bar that comes or a pane that is dragged.
  function redrawOnNewWidth() {
    let drawn = root.clientWidth;
    new ResizeObserver(() => {
      if (root.clientWidth === drawn || root.classList.contains("printing")) return;
      drawn = root.clientWidth;
      drawAll();
    }).observe(root);
  }

  function preparePaper() {
    root.classList.add("printing");
    for (const element of document.querySelectorAll("details:not([open]):not([data-long])")) {
      element.dataset.folded = "";
      element.open = true;
    }
    drawAll();
  }

  function leavePaper() {
    root.classList.remove("printing");
    for (const element of document.querySelectorAll("details[data-folded]")) {
      delete element.dataset.folded;
      element.open = false;
    }
    drawAll();
  }

  drawAll();
  listenToBudget();
  redrawOnNewWidth();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", preparePaper);
  addEventListener("afterprint", leavePaper);
})();
