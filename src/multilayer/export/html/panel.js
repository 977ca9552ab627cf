/* The form of a model, its prediction, and how that changes along each column. */

"use strict";

function multilayerPanel(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`).textContent;
  const form = JSON.parse(part("form"));
  const verified = JSON.parse(part("verification"));
  const N_POINTS = 41, WIDTH = 260, HEIGHT = 96, LEFT = 48, RIGHT = 8, TOP = 8, BOTTOM = 18;
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };
  const svg = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const short = (x) => {
    if (!Number.isFinite(x)) return "–";
    const size = Math.abs(x);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) return x.toExponential(2);
    return String(Number(x.toPrecision(size >= 1000 ? 6 : 4)));
  };
  const percent = (p) => `${(100 * p).toFixed(1)} %`;
  const shown = form.probabilities ? percent : short;

  let model = null, row = {}, output = form.shown, turn = 0;
  const controls = [];

  // Controls: each has read(), write(value) and points(): [{value, x, label}]

  const spread = (low, high) => Array.from({ length: N_POINTS }, (_, i) => low + ((high - low) * i) / (N_POINTS - 1));

  function numberControl(column, id) {
    const { low, high } = column, width = high - low;
    const step = column.whole ? 1 : "any";
    const range = element("input", { type: "range", min: low, max: high, step: column.whole ? 1 : width / 200 || 1,
      "aria-label": `${column.name}, slider` });
    const box = element("input", { type: "number", id, step });
    range.addEventListener("input", () => { box.value = short(Number(range.value)); changed(); });
    box.addEventListener("input", () => { if (box.value !== "") range.value = box.value; changed(); });
    return {
      parts: [range, box],
      read: () => (box.value === "" ? null : Number(box.value)),
      write: (value) => { box.value = value === null ? "" : short(value); range.value = value ?? low; },
      points: () => {
        const values = column.whole && width <= 60 ? Array.from({ length: width + 1 }, (_, i) => low + i) : spread(low, high);
        return values.map((value) => ({ value, x: value }));
      },
      ends: [short(low), short(high)],
      note: (value) => (value !== null && (value < low || value > high)
        ? `outside of ${short(low)} to ${short(high)}, where the model has seen rows` : ""),
    };
  }

  const DATE_MS = (micros) => Number(micros / 1000n);
  const micros = (ms) => BigInt(Math.round(ms)) * 1000n;

  function dateControl(column, id) {
    const low = column.low * 864e5, high = column.high * 864e5;
    const box = element("input", { type: "datetime-local", id, step: 60 });
    const range = element("input", { type: "range", min: low, max: high, step: Math.max(1, (high - low) / 200),
      "aria-label": `${column.name}, slider` });
    const text = (ms) => new Date(ms).toISOString().slice(0, 16);
    range.addEventListener("input", () => { box.value = text(Number(range.value)); changed(); });
    box.addEventListener("input", () => { const ms = Date.parse(`${box.value}Z`); if (!Number.isNaN(ms)) range.value = ms; changed(); });
    return {
      parts: [range, box],
      read: () => { const ms = Date.parse(`${box.value}Z`); return Number.isNaN(ms) ? null : micros(ms); },
      write: (value) => { box.value = value === null ? "" : text(DATE_MS(value)); range.value = value === null ? low : DATE_MS(value); },
      points: () => spread(low, high).map((ms) => ({ value: micros(ms), x: ms })),
      ends: [text(low).slice(0, 10), text(high).slice(0, 10)],
      at: (value) => DATE_MS(value),
      note: () => column.note,
    };
  }

  function timeControl(column, id) {
    const box = element("input", { type: "time", id, step: 1 });
    box.addEventListener("input", changed);
    return {
      parts: [box],
      read: () => (box.value === "" ? null : box.value.split(":").reduce((sum, each, i) => sum + each * [3600, 60, 1][i], 0)),
      write: (value) => { box.value = value === null ? "" : new Date(value * 1000).toISOString().slice(11, 19); },
      points: () => spread(0, 86340).map((value) => ({ value, x: value })),
      ends: ["0:00", "24:00"],
      note: () => "",
    };
  }

  function listControl(column, id) {
    const options = column.levels.map(([value, label]) => element("option", { value: JSON.stringify(value) }, label));
    const select = element("select", { id }, ...options);
    select.addEventListener("change", changed);
    return {
      parts: [select],
      read: () => JSON.parse(select.value),
      write: (value) => { select.value = JSON.stringify(value ?? column.levels[0][0]); },
      points: () => column.levels.slice(0, 12).map(([value, label], i) => ({ value, x: i, label })),
      isList: true,
      note: () => (column.levels.length > 12 ? `the first 12 of ${column.levels.length} values are drawn` : ""),
    };
  }

  function textControl(column, id) {
    const list = element("datalist", { id: `${id}-list` }, ...column.levels.map(([value]) => element("option", { value })));
    const box = column.kind === "text" ? element("textarea", { id, rows: 3 })
      : element("input", { type: "text", id, list: `${id}-list`, autocomplete: "off" });
    const known = new Set(column.levels.map(([value]) => value));
    box.addEventListener("input", changed);
    return {
      parts: [box, list],
      read: () => box.value || null,
      write: (value) => { box.value = value ?? ""; },
      points: () => column.levels.slice(0, 12).map(([value, label], i) => ({ value, x: i, label })),
      isList: true,
      note: (value) => (column.kind !== "text" && value !== null && !known.has(value) ? "no value that the model knows by itself" : ""),
    };
  }

  const CONTROLS = { number: numberControl, date: dateControl, time: timeControl, list: listControl, text: textControl };

  // Drawing

  function draw(control, values) {
    const picture = control.picture, points = control.curve;
    picture.replaceChildren(svg("title", {}, `Prediction along ${control.column.name}`));
    if (!points.length) return;
    const ys = points.map((point) => point.y).filter(Number.isFinite), here = values[output];
    let low = Math.min(...ys, here), high = Math.max(...ys, here);
    const span = form.probabilities ? Math.max(high - low, 0.1) : Math.max(high - low, form.unit / 5);
    const middle = (low + high) / 2;
    [low, high] = [middle - span / 2, middle + span / 2];
    if (form.probabilities) [low, high] = [Math.max(0, low), Math.min(1, high)];
    const first = points[0].x, last = points[points.length - 1].x;
    const X = (x) => LEFT + ((WIDTH - LEFT - RIGHT) * (last > first ? (x - first) / (last - first) : 0.5));
    const Y = (y) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - low) / (high - low));
    const inner = control.isList ? 14 : 0, Xi = (x) => inner + X(x) * (1 - (2 * inner) / WIDTH);
    picture.append(svg("path", { class: "ml-axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
    picture.append(svg("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, shown(high)));
    picture.append(svg("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, shown(low)));
    if (control.isList) {
      const each = (WIDTH - LEFT - RIGHT) / points.length;
      points.forEach((point) => {
        picture.append(svg("circle", { class: "ml-level", cx: Xi(point.x), cy: Y(point.y), r: 4 }));
        const most = Math.max(2, Math.floor(each / 6.2));
        const label = point.label.length > most ? `${point.label.slice(0, most - 1)}…` : point.label;
        if (each > 16) picture.append(svg("text", { x: Xi(point.x), y: HEIGHT - 5, "text-anchor": "middle" }, label));
      });
    } else {
      const path = points.map((point, i) => `${i ? "L" : "M"}${X(point.x).toFixed(1)} ${Y(point.y).toFixed(1)}`).join("");
      picture.append(svg("path", { class: "ml-curve", d: path }));
      picture.append(svg("text", { x: LEFT, y: HEIGHT - 5 }, control.ends[0]));
      picture.append(svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, control.ends[1]));
    }
    const value = row[control.column.input];
    if (value !== null) {
      const at = control.isList ? points.findIndex((point) => point.value === value) : control.at ? control.at(value) : value;
      if (at !== -1 || !control.isList) {
        const x = Math.min(Math.max(at, first), last);
        picture.append(svg("circle", { class: "ml-here", cx: control.isList ? Xi(x) : X(x), cy: Y(here), r: 4.5 }));
      }
    }
  }

  function answer(values) {
    const place = root.querySelector(".ml-values");
    if (values.length === 1) {
      place.replaceChildren(element("p", { class: "ml-number", style: "margin:0" }, `${form.outputs[0]}: ${shown(values[0])}`));
      return;
    }
    const list = element("dl");
    values.forEach((value, i) => {
      const button = element("button", { type: "button", "aria-pressed": String(i === output),
        title: "draw this one" }, form.outputs[i]);
      button.addEventListener("click", () => { output = i; changed(); });
      const bar = element("dd", { class: form.probabilities ? "ml-bar" : "" });
      if (form.probabilities) bar.append(element("span", { style: `width:${(100 * value).toFixed(2)}%` }));
      list.append(element("dt", {}, button), bar, element("dd", {}, shown(value)));
    });
    const focused = place.contains(document.activeElement);
    place.replaceChildren(list);
    if (focused) list.querySelectorAll("button")[output].focus();
  }

  // What happens

  function read() {
    row = Object.create(null); // a column may be called __proto__
    for (const control of controls) {
      const value = control.gone.checked ? null : control.read();
      row[control.column.input] = value;
      if (control.column.written) row[control.column.written] = value;
      control.warning.textContent = control.note(value);
    }
  }

  function changed() {
    if (!model) return;
    read();
    const values = model.predict(row), mine = ++turn;
    answer(values);
    let next = 0;
    const more = () => {
      const until = performance.now() + 12;
      while (next < controls.length && performance.now() < until && mine === turn) {
        const control = controls[next++];
        const along = (value) => {
          const other = { ...row, [control.column.input]: value };
          if (control.column.written) other[control.column.written] = value;
          return model.predict(other)[output];
        };
        control.curve = control.column.role === "exposure" ? [] : control.points().map((point) => ({ ...point, y: along(point.value) }));
        draw(control, values);
      }
      if (next < controls.length && mine === turn) setTimeout(more);
      else if (mine === turn) root.dataset.drawn = String(mine);
    };
    more();
  }

  function reset() {
    for (const control of controls) {
      const start = control.column.start;
      control.gone.checked = false;
      control.write(control.column.role === "date" ? micros(start * 864e5) : start);
    }
    changed();
  }

  /* The rows that stand in the page, and what the library says of them. */
  function check() {
    let largest = 0;
    const value = (role, x) => (x === null || (role !== "date" && role !== "written") ? x : BigInt(x));
    for (let i = 0; i < verified.expected.length; i++) {
      const given = Object.fromEntries(verified.columns.map((each) => [each.name, value(each.role, each.values[i])]));
      model.predict(given).forEach((found, k) => {
        const wanted = verified.expected[i][k], difference = Math.abs(found - wanted) / (Math.abs(wanted) + verified.unit[k]);
        if (!(difference <= largest)) largest = difference;
      });
    }
    return largest;
  }

  function build() {
    const place = root.querySelector(".ml-columns");
    form.columns.forEach((column, i) => {
      const id = `${root.id || "ml"}-${i}`, control = CONTROLS[column.control](column, id);
      Object.assign(control, { column, curve: [], warning: element("p", { class: "ml-note", "aria-live": "polite" }) });
      control.gone = element("input", { type: "checkbox" });
      control.gone.addEventListener("change", changed);
      control.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Prediction along ${column.name}` });
      const missing = element("label", { class: "ml-missing" }, control.gone, " missing");
      const inner = element("div", { class: "ml-controls" }, ...control.parts, ...(column.role === "exposure" ? [] : [missing]));
      const card = element("div", { class: "ml-column" }, element("label", { class: "ml-name", for: id }, column.name), inner);
      if (column.role !== "exposure" && (!control.isList || column.levels.length)) card.append(control.picture);
      card.append(control.warning);
      place.append(card);
      controls.push(control);
    });
    root.querySelector(".ml-reset").addEventListener("click", reset);
  }

  const fail = (message) => {
    root.querySelector(".ml-state").replaceChildren(element("p", { class: "ml-error", role: "alert" }, message));
    root.dataset.state = "failed";
  };

  return MultilayerReader.load(JSON.parse(part("steps")), part("arrays")).then((loaded) => {
    model = loaded;
    const largest = check();
    root.dataset.difference = String(largest);
    if (!(largest <= 1e-5)) {
      fail(`This page must say what the library says; on its own rows it differs by ${largest}. Use another browser.`);
      return;
    }
    root.querySelector(".ml-state").textContent =
      `computed in this page, offline; checked on ${verified.expected.length} rows: largest difference ${largest.toExponential(1)}`;
    build();
    reset();
    root.dataset.state = "ready";
  }).catch((error) => fail(`This page could not be computed (${error.message}). It needs a browser of 2023 or newer.`));
}

if (typeof document !== "undefined") document.querySelectorAll(".ml-panel:not([data-state])").forEach((root) => {
  root.dataset.state = "loading";
  multilayerPanel(root);
});
if (typeof module !== "undefined") module.exports = { multilayerPanel };
