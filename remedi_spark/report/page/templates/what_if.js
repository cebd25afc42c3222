"use strict";
// Shows an owner's features and what the score does along each. What it shows is in the JSON block #what-if-data.
(() => {
  const page = JSON.parse(document.getElementById("what-if-data").textContent);
  const model = student(page);
  const { features, owners } = page;
  const amounts = page.calibration.kind === "label_scale";
  const SHOWN = 10;
  const STEPS = 4; // points between two quantiles of a number
  const BARS = 12; // levels of a category that are drawn
  const DAY = 86400000;
  const byId = (id) => document.getElementById(id);
  let owner = 0;
  let values = [];
  let order = [];
  let shown = SHOWN;
  let scale = [0, 1];

  const significant = (value, digits) => value.toLocaleString("en-US", { maximumSignificantDigits: digits });
  const score = (value) => (amounts ? significant(value, 4) : `${significant(100 * value, 3)}\u202f%`);
  const whole = (value) => value.toLocaleString("en-US");

  function made(tag, parent, properties = {}) {
    const element = Object.assign(document.createElement(tag), properties);
    if (parent) parent.append(element);
    return element;
  }

  // What a value is called, and back from what a field holds; null is a missing value, an unseen level is false.
  const iso = (days, length) => {
    const moment = new Date(Math.round(days * DAY));
    return Number.isNaN(moment.getTime()) ? "" : moment.toISOString().slice(0, length);
  };
  const kinds = {
    number: { type: "number", text: (value) => `${Number(value.toPrecision(6))}`, parsed: (text) => Number(text) },
    date: { type: "date", text: (value) => iso(value, 10), parsed: (text) => Date.parse(text) / DAY },
    timestamp: { type: "datetime-local", text: (value) => iso(value, 19), parsed: (text) => Date.parse(`${text}Z`) / DAY },
  };
  function called(feature, value) {
    if (feature.levels) {
      const name = feature.levels.names[value];
      return name === null ? "missing" : name === false ? "any level that training never saw" : name.trim() ? name : "empty";
    }
    if (value === null) return "missing";
    if (feature.kind === "boolean") return value ? "yes" : "no";
    if (feature.kind === "number") return Math.abs(value) >= 1e6 ? value.toPrecision(4) : significant(value, 5);
    return kinds[feature.kind].text(value).replace("T", " ");
  }

  // The values along which a feature is drawn.
  const points = features.map((feature) => {
    if (feature.levels) return feature.levels.names.map((_, place) => place);
    if (feature.kind === "boolean") return [0, 1];
    const { grid } = feature;
    const between = grid.slice(1).flatMap((end, i) => Array.from({ length: STEPS }, (_, step) =>
      (step + 1 === STEPS ? end : grid[i] + ((end - grid[i]) * (step + 1)) / STEPS)));
    const all = [...grid.slice(0, 1), ...between];
    return feature.whole ? [...new Set(all.map(Math.round))] : all;
  });
  const chosen = (feature) => Boolean(feature.levels) || feature.kind === "boolean";

  function along(i) {
    return { scores: model.along(values, i, points[i]), missing: features[i].levels ? null : model.along(values, i, [null])[0] };
  }

  function choose(next) {
    owner = (next + owners.length) % owners.length;
    values = [...owners[owner].values];
    shown = SHOWN;
    byId("owner").value = owner;
    const reach = features.map((_, i) => {
      const { scores } = along(i);
      return [Math.min(...scores, owners[owner].score), Math.max(...scores, owners[owner].score)];
    });
    scale = [Math.min(...reach.map(([low]) => low)), Math.max(...reach.map(([, high]) => high))];
    order = features.map((_, i) => i).sort((a, b) => reach[b][1] - reach[b][0] - (reach[a][1] - reach[a][0]));
    build();
  }

  function build() {
    const wanted = byId("find").value.trim().toLowerCase();
    const found = order.filter((i) => features[i].name.toLowerCase().includes(wanted));
    byId("features").replaceChildren(...found.slice(0, shown).map(row));
    byId("more").hidden = found.length <= shown;
    byId("more").textContent = `${found.length - shown} more`;
    update();
  }

  function row(i) {
    const feature = features[i];
    const box = made("div", null, { className: "feature" });
    box.dataset.feature = i;
    const left = made("div", box);
    made("h3", left, { textContent: feature.name, id: `name-${i}` });
    const field = control(i, made("div", left, { className: "value" }));
    field.setAttribute("aria-labelledby", `name-${i}`);
    const about = made("p", left, { className: "facts-of" });
    made("button", about, { type: "button", className: "was", onclick: () => set(i, owners[owner].values[i]) });
    if (feature.known) {
      made("button", about, {
        type: "button", textContent: `usual: ${called(feature, feature.usual)}`, onclick: () => set(i, feature.usual),
      });
    }
    const middle = made("div", box, { className: "along" });
    made("div", middle, { className: "curve" });
    if (!chosen(feature) && points[i].length > 1) {
      const slider = made("input", middle, { type: "range", min: 0, max: points[i].length - 1, step: 1 });
      slider.setAttribute("aria-label", `${feature.name}, along its usual values`);
      slider.addEventListener("input", () => set(i, points[i][Number(slider.value)]));
      const ends = made("div", middle, { className: "ends" });
      for (const end of [points[i][0], points[i].at(-1)]) made("span", ends, { textContent: called(feature, end) });
    }
    made("div", box, { className: "reach" });
    return box;
  }

  function control(i, parent) {
    const feature = features[i];
    if (chosen(feature)) {
      const field = made("select", parent);
      const options = feature.levels ? points[i] : [1, 0, null];
      options.forEach((value) => made("option", field, { value: `${value}`, textContent: called(feature, value) }));
      field.addEventListener("change", () => set(i, field.value === "null" ? null : Number(field.value)));
      return field;
    }
    const { type, parsed } = kinds[feature.kind];
    const field = made("input", parent, { type, step: type === "date" ? 1 : "any", placeholder: "missing" });
    field.addEventListener("input", () => {
      const value = field.value === "" ? null : parsed(field.value);
      if (value === null ? !field.validity.badInput : Number.isFinite(value)) set(i, value, field);
    });
    return field;
  }

  // Take a value; the field that it was typed into stays as it is.
  function set(i, value, typed = null) {
    values[i] = value;
    update(typed);
  }

  function update(typed = null) {
    const now = model.score(values);
    const was = owners[owner].score;
    const changed = values.filter((value, i) => value !== owners[owner].values[i]).length;
    const answer = byId("score");
    answer.textContent = score(now);
    answer.dataset.value = now;
    answer.className = now > was && changed ? "up" : now < was && changed ? "down" : "";
    const better = owners.filter((other, i) => i !== owner && other.score > now).length + 1;
    byId("said").textContent = changed
      ? `was ${score(was)}; ${changed} ${changed === 1 ? "feature" : "features"} changed; place ${better} among the ${whole(owners.length)} here, was ${owner + 1}`
      : `${amounts ? "predicted amount" : "calibrated probability"} of ${owners[owner].name}, place ${owner + 1}`;
    byId("back").hidden = !changed;
    for (const box of byId("features").children) refresh(box, now, typed);
  }

  function refresh(box, now, typed) {
    const i = Number(box.dataset.feature);
    const [feature, value, before] = [features[i], values[i], owners[owner].values[i]];
    const field = box.querySelector(".value :is(select, input)");
    if (field !== typed) {
      if (chosen(feature)) field.value = `${value}`;
      else field.value = value === null ? "" : kinds[feature.kind].text(value);
    }
    box.classList.toggle("changed", value !== before);
    Object.assign(box.querySelector("button.was"), { hidden: value === before, textContent: `was: ${called(feature, before)}` });
    const slider = box.querySelector("input[type=range]");
    if (slider && value !== null) slider.value = Math.round(placeOf(points[i], value));
    const drawn = along(i);
    drawCurve(box.querySelector(".curve"), i, drawn, now);
    const [low, high] = [Math.min(...drawn.scores, now), Math.max(...drawn.scores, now)];
    const reach = box.querySelector(".reach");
    reach.replaceChildren(document.createTextNode(`${score(low)} – ${score(high)}`));
    if (drawn.missing !== null) made("small", reach, { textContent: `missing: ${score(drawn.missing)}` });
  }

  // Where a value lies among points in order, as a place that may be between two.
  function placeOf(all, value) {
    let at = 0;
    while (at < all.length - 1 && all[at + 1] <= value) at += 1;
    const step = at < all.length - 1 ? (value - all[at]) / (all[at + 1] - all[at]) : 0;
    return Math.max(0, Math.min(all.length - 1, at + Math.max(0, step)));
  }

  function drawCurve(frame, i, { scores, missing }, now) {
    const low = Math.min(scale[0], now);
    const high = Math.max(scale[1], now, low + 1e-12);
    const y = (value) => 100 - (100 * (Math.max(low, Math.min(value, high)) - low)) / (high - low);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `score along ${features[i].name}: ${score(Math.min(...scores))} to ${score(Math.max(...scores))}`);
    const shape = (tag, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      svg.append(element);
    };
    frame.replaceChildren(svg);
    const dot = (name, x, value, title) => {
      const element = made("i", frame, { className: name, title });
      element.style.left = `${x}%`;
      element.style.top = `${y(value)}%`;
    };
    if (chosen(features[i])) {
      const bars = scores.map((value, at) => [points[i][at], value]);
      const many = bars.filter(([at], place) => place < BARS || at === values[i]);
      many.forEach(([at, value], place) => {
        const width = 100 / many.length;
        shape("rect", {
          x: place * width + width * 0.1, width: width * 0.8, y: y(value) - 1, height: 101 - y(value),
          class: at === values[i] ? "here" : "",
        });
      });
      if (missing !== null) dot("empty", 0, missing, `missing: ${score(missing)}`);
      return;
    }
    const x = (place) => (points[i].length > 1 ? (100 * place) / (points[i].length - 1) : 50);
    shape("path", { class: "level", d: `M0 ${y(now)}H100` });
    shape("path", { d: scores.map((value, at) => `${at ? "L" : "M"}${x(at)} ${y(value)}`).join("") });
    const before = owners[owner].values[i];
    dot("empty", 0, missing, `missing: ${score(missing)}`);
    if (before !== values[i] && before !== null) dot("was", x(placeOf(points[i], before)), model.along(values, i, [before])[0], "as it was");
    dot("here", values[i] === null ? 0 : x(placeOf(points[i], values[i])), now, "now");
  }

  // The scoring run's own scores are in the page: a browser that computes others must not go unnoticed.
  function check() {
    const far = owners.map((one) => Math.abs(model.score(one.values) - one.score) / Math.max(1, Math.abs(one.score)));
    const worst = Math.max(...far);
    document.documentElement.dataset.difference = worst;
    if (worst <= 1e-6) {
      byId("checked").textContent = `The ${whole(owners.length)} scores computed here agree with those of Python to 1e-6.`;
    } else {
      byId("differs").hidden = false;
      byId("differs").textContent = `This browser computes other scores than Python, by up to ${worst.toPrecision(2)}: do not rely on them.`;
    }
  }

  owners.forEach((one, i) => made("option", byId("owner"), { value: i, textContent: `${one.name}: ${score(one.score)}` }));
  byId("owner").addEventListener("change", () => choose(Number(byId("owner").value)));
  byId("previous").addEventListener("click", () => choose(owner - 1));
  byId("next").addEventListener("click", () => choose(owner + 1));
  byId("back").addEventListener("click", () => { values = [...owners[owner].values]; update(); });
  byId("find").addEventListener("input", () => { shown = SHOWN; build(); });
  byId("more").addEventListener("click", () => { shown += 2 * SHOWN; build(); });
  byId("control").addEventListener("submit", (event) => event.preventDefault());
  check();
  choose(0);
})();
