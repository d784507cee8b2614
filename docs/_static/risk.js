// The probability of expansion and the points of the nomogram, from the numbers that the page carries.
// No library, no request: works from a file as from a server.
"use strict";

(() => {
  const Z = 1.959963984540054; // 97.5 % point of the normal distribution
  const content = JSON.parse(document.getElementById("risk-models").textContent);
  const ranges = Object.fromEntries(content.fields.map((field) => [field.name, field.observed]));
  const score = content.fields.find((field) => field.name === "dl_score" && field.networks);
  let spread = score ? score.spread : 0; // of the networks, in SD; a loaded file may know that of its scan
  const form = document.querySelector(".risk-fields");
  const spoken = document.getElementById("risk-spoken");
  const expit = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const percent = (p) =>
    p < 0.01 ? "< 1\u00a0%" : p > 0.99 ? "> 99\u00a0%" : `${(100 * p).toFixed(p < 0.0995 || p > 0.9005 ? 1 : 0)}\u00a0%`;
  const number = (text) => (text.trim() === "" ? NaN : Number(text.trim().replace(",", "."))); // 7,5 is 7.5

  // What is wrong with an entry, in words; empty where it is right.
  const wrong = (field) => {
    const { low, high } = field.dataset, value = number(field.value);
    const between = low !== undefined && high !== undefined ? ` from ${low} to ${high}` : low !== undefined ? ` of at least ${low}` : "";
    const kind = "whole" in field.dataset ? "a whole number" : "a number";
    const fits = Number.isFinite(value) && !(value < Number(low)) && !(value > Number(high));
    return fits && (kind === "a number" || Number.isInteger(value)) ? "" : `Enter ${kind}${between}.`;
  };

  // Above or below the threshold, and against the average patient of the study.
  const compared = (p, threshold) => {
    const side = p >= threshold ? "at or above the study's threshold" : "below the study's threshold";
    if (!content.average) return `${side[0].toUpperCase()}${side.slice(1)}.`;
    const times = p / content.average;
    const more = Math.abs(times - 1) < 0.1 ? "about the average risk" : `${times.toFixed(1)} times the average risk`;
    return `${side[0].toUpperCase()}${side.slice(1)}; ${more} of ${percent(content.average)}.`;
  };

  // A curved number: its logarithm, itself, or the bend of its restricted cubic spline.
  const bend = (form, knots, x) => {
    if (form === "log") return Math.log(Math.max(x, knots[0]));
    if (form === "spline") return x;
    const [first, middle, last] = knots;
    const cube = (knot) => Math.max(x - knot, 0) ** 3;
    const straight = (cube(middle) * (last - first) - cube(last) * (middle - first)) / (last - middle);
    return (cube(first) - straight) / (last - first) ** 2;
  };

  // Value of one of a model's terms for a patient; a level is 1 where it was chosen.
  const value = (term, patient) => {
    if (term.level) return Number(patient[term.predictor] === term.level);
    const number = Number(patient[term.predictor]);
    return term.curve ? bend(term.curve.form, term.curve.knots, number) : number;
  };
  const values = (model, patient) => model.terms.map((term) => value(term, patient));

  const risk = (model, patient) => {
    const row = [1, ...values(model, patient)];
    const logit = model.terms.reduce((sum, term, i) => sum + term.coefficient * row[i + 1], model.intercept);
    let variance = 0;
    row.forEach((a, i) => row.forEach((b, j) => { variance += a * b * model.covariance[i][j]; }));
    // The score is a mean of networks, whose spread moves it.
    for (const term of model.terms)
      if (term.predictor === "dl_score" && spread) variance += (term.coefficient * spread) ** 2 / score.networks;
    const reach = Z * Math.sqrt(Math.max(variance, 0));
    return { p: expit(logit), low: expit(logit - reach), high: expit(logit + reach) };
  };

  // Points of the nomogram: a number's from the value that is worth none, a level's as listed.
  const points = (scale, patient) => {
    const found = {};
    for (const [name, axis] of Object.entries(scale.numbers))
      found[name] = axis.points_per_unit * (Number(patient[name]) - axis.zero_at);
    for (const [name, levels] of Object.entries(scale.levels)) found[name] = levels[patient[name]];
    for (const [name, axis] of Object.entries(scale.curves || {})) {
      const [form, column] = name.replace(/\)$/, "").split("(");
      const forms = form === "log" ? ["log"] : ["spline", "bend"];
      const parts = forms.map((one, i) => axis.worth[i] * bend(one, axis.curve, Number(patient[column])));
      found[column] = (found[column] || 0) + parts.reduce((sum, one) => sum + one, 0) - axis.least;
    }
    return found;
  };

  const read = () => {
    const patient = {};
    let whole = true;
    for (const field of form.querySelectorAll("select, input[type=text]")) {
      const fault = field.type === "text" ? wrong(field) : "";
      patient[field.name] = field.type === "text" ? String(number(field.value)) : field.value;
      field.setAttribute("aria-invalid", String(Boolean(fault)));
      whole = whole && !fault;
      if (field.type === "text") note(field, fault);
    }
    return whole ? patient : null;
  };

  // Labels of a model's numbers that lie outside what development patients had.
  const outside = (model, patient) => {
    const used = content.fields.filter((field) => field.observed && model.terms.some((term) => term.predictor === field.name));
    const beyond = ({ name, observed: [low, high] }) => Number(patient[name]) < low || Number(patient[name]) > high;
    return used.filter(beyond).map((field) => field.label);
  };

  const note = (field, fault) => {
    const words = document.getElementById(`${field.id}-note`);
    const [low, high] = ranges[field.name], value = number(field.value);
    const beyond = !fault && (value < low || value > high);
    words.textContent = fault || words.dataset.range + (beyond ? "; this value lies outside" : "");
    words.classList.toggle("risk-warned", beyond || Boolean(fault));
  };

  let waiting;
  const show = () => {
    const patient = read();
    const said = [];
    for (const model of content.models) {
      const answer = patient && risk(model, patient);
      const place = document.querySelector(`.risk-answer[data-model=${model.name}]`);
      place.classList.toggle("risk-unknown", !answer);
      const beyond = answer ? outside(model, patient) : [];
      place.classList.toggle("risk-extrapolated", beyond.length > 0);
      const output = place.querySelector("output");
      const interval = place.querySelector(".risk-interval");
      output.textContent = answer ? percent(answer.p) : "–";
      place.querySelector(".risk-words").textContent = answer
        ? compared(answer.p, model.threshold) + (beyond.length ? ` Extrapolated: ${beyond.join(", ")}.` : "")
        : "";
      const marked = answer ? Math.round(100 * answer.p) : 0;
      place.querySelectorAll(".risk-icons i").forEach((icon, k) => icon.classList.toggle("risk-hit", k < marked));
      interval.textContent = answer ? `95 % interval ${percent(answer.low)} to ${percent(answer.high)}` : "an entry is missing";
      for (const key of ["p", "low", "high"]) output.dataset[key] = answer ? answer[key] : "";
      if (answer) {
        said.push(`${model.name} model ${percent(answer.p)}, ${interval.textContent}`);
        place.querySelector(".risk-dot").style.left = `${100 * answer.p}%`;
        const band = place.querySelector(".risk-band").style;
        band.left = `${100 * answer.low}%`;
        band.width = `${100 * (answer.high - answer.low)}%`;
      }
      const given = patient && model.nomogram ? points(model.nomogram, patient) : {};
      for (const cell of document.querySelectorAll(`.risk-points td[data-model=${model.name}]`)) {
        const name = cell.dataset.points;
        const value = name === "total" ? Object.values(given).reduce((sum, one) => sum + one, 0) : given[name];
        cell.textContent = patient && value !== undefined ? value.toFixed(1) : "–";
        cell.dataset.value = patient && value !== undefined ? value : "";
      }
    }
    clearTimeout(waiting); // a slider moves in many steps: only where it rests is spoken
    waiting = setTimeout(() => { spoken.textContent = said.join("; ") || "An entry is missing or outside its limits."; }, 500);
  };

  // A hundred patients like this one: those who would expand are filled.
  for (const icons of document.querySelectorAll(".risk-icons")) icons.innerHTML = "<i></i>".repeat(100);

  form.addEventListener("input", (event) => {
    const field = event.target;
    if (field.type === "range") form.elements.namedItem(field.dataset.field).value = field.value;
    if (field.type === "text") document.getElementById(`${field.id}-slider`).value = number(field.value);
    if (score && (field.name || field.dataset.field) === "dl_score") spread = score.spread; // no longer that of a file
    show();
  });
  // Values of files: the answer of `hepred predict`, or bedside values by the names of the manifest's columns.
  const fill = (values) => {
    const taken = [], known = { ...values };
    if (known.sex === "M" || known.sex === "F") known.male = Number(known.sex === "M");
    if (typeof known.hematoma_volume_ml === "number") known.baseline_volume_ml ??= known.hematoma_volume_ml;
    for (const field of content.fields) {
      const given = known[field.name], entry = form.elements.namedItem(field.name);
      if (!["number", "string"].includes(typeof given) && typeof given !== "boolean") continue;
      const text = String(typeof given === "boolean" ? Number(given) : given);
      if (entry.options && ![...entry.options].some((option) => option.value === text)) continue;
      entry.value = text;
      const slider = document.getElementById(`risk-${field.name}-slider`);
      if (slider) slider.value = number(text);
      taken.push(field.label);
    }
    if (score && typeof known.dl_score === "number")
      spread = typeof known.dl_score_spread === "number" ? known.dl_score_spread : score.spread;
    return taken;
  };

  const load = document.getElementById("risk-load");
  if (load) load.addEventListener("change", async () => {
    const said = [];
    for (const file of load.files) {
      let values = null;
      try { values = JSON.parse(await file.text()); } catch { /* said below */ }
      const taken = values && typeof values === "object" && !Array.isArray(values) ? fill(values) : null;
      said.push(taken === null ? `${file.name} is no JSON object.` : taken.length
        ? `From ${file.name}: ${taken.join(", ")}.` : `${file.name} has none of the entries.`);
    }
    document.getElementById("risk-loaded").textContent = said.join(" ");
    load.value = "";
    show();
  });

  form.addEventListener("reset", () => {
    spread = score ? score.spread : 0;
    const loaded = document.getElementById("risk-loaded");
    if (loaded) loaded.textContent = "";
    setTimeout(show);
  });
  show();
})();
