// The probability of expansion and the points of the nomogram, from the numbers that the page carries.
// No library, no request: works from a file as from a server.
"use strict";

(() => {
  const Z = 1.959963984540054; // 97.5 % point of the normal distribution
  const content = JSON.parse(document.getElementById("risk-models").textContent);
  const ranges = Object.fromEntries(content.fields.map((field) => [field.name, field.observed]));
  const form = document.querySelector(".risk-fields");
  const spoken = document.getElementById("risk-spoken");
  const expit = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const percent = (p) => `${(100 * p).toFixed(p < 0.0995 || p > 0.9005 ? 1 : 0)} %`;

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
    for (const field of form.querySelectorAll("select, input[type=number]")) {
      patient[field.name] = field.value;
      const fits = field.checkValidity();
      field.setAttribute("aria-invalid", String(!fits));
      whole = whole && fits;
      if (field.type === "number") note(field, fits);
    }
    return whole ? patient : null;
  };

  const note = (field, fits) => {
    const words = document.getElementById(`${field.id}-note`);
    const [low, high] = ranges[field.name];
    const outside = fits && (Number(field.value) < low || Number(field.value) > high);
    words.textContent = fits
      ? words.dataset.range + (outside ? "; this value lies outside" : "")
      : field.validationMessage;
    words.classList.toggle("risk-warned", outside || !fits);
  };

  let waiting;
  const show = () => {
    const patient = read();
    const said = [];
    for (const model of content.models) {
      const answer = patient && risk(model, patient);
      const place = document.querySelector(`.risk-answer[data-model=${model.name}]`);
      place.classList.toggle("risk-unknown", !answer);
      const output = place.querySelector("output");
      const interval = place.querySelector(".risk-interval");
      output.textContent = answer ? percent(answer.p) : "–";
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

  form.addEventListener("input", (event) => {
    const field = event.target;
    if (field.type === "range") form.elements.namedItem(field.dataset.field).value = field.value;
    if (field.type === "number") document.getElementById(`${field.id}-slider`).value = field.value;
    show();
  });
  form.addEventListener("reset", () => setTimeout(show));
  show();
})();
