// Scrolls through the slices of a case and draws its outlines. No library, and no request but for the cases of the site.
"use strict";

(() => {
  const root = document.querySelector(".cases");
  const { cases, outlines, offset } = JSON.parse(document.getElementById("cases-content").textContent);
  const find = (what) => root.querySelector(what);
  const every = (what) => [...root.querySelectorAll(what)];
  const [canvas, slider, output, windows] = ["canvas", "input[type=range]", "output", "select"].map(find);
  const [BAR_MM, SCREEN] = [50, 576]; // scale bar; pixels of the longer side
  let shown = null; // the case on the screen, with its unpacked bytes: slices, then masks
  let current = null; // key of the case that was asked for last

  // A case comes as text: with the page, or as a script of the site, which may be read from a file too.
  const text = (one) => new Promise((done, failed) => {
    const kept = one.data ?? (window.hepredCases ?? {})[one.key];
    if (kept) { done(kept); return; }
    const script = document.createElement("script");
    script.src = `_static/cases/${one.key}.js`;
    script.onload = () => done(window.hepredCases[one.key]);
    script.onerror = () => failed(new Error(`${script.src} cannot be read.`));
    document.head.append(script);
  });
  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  // Closed lines around the pixels that have a bit, through the middles of the pixels' outer edges.
  const lines = (masks, bit, h, w) => {
    const inside = (x, y) => x >= 0 && y >= 0 && x < w && y < h && (masks[y * w + x] & bit) > 0;
    const next = new Map(); // from a corner along an edge, the blood on the right hand
    const edge = (x0, y0, x1, y1) => {
      const from = `${x0} ${y0}`;
      next.set(from, [...(next.get(from) ?? []), [x0, y0, x1, y1]]);
    };
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) edge(x, y, x + 1, y);
      if (!inside(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
      if (!inside(x, y + 1)) edge(x + 1, y + 1, x, y + 1);
      if (!inside(x - 1, y)) edge(x, y + 1, x, y);
    }
    const found = [];
    for (const start of next.keys()) {
      const line = [];
      for (let at = start, one; (one = (next.get(at) ?? []).pop()); at = `${one[2]} ${one[3]}`)
        line.push([(one[0] + one[2]) / 2, (one[1] + one[3]) / 2]);
      if (line.length) found.push(line);
    }
    return found;
  };

  const draw = () => {
    if (!shown) return;
    const [n, h, w] = shown.shape;
    const z = Number(slider.value) - 1;
    const hu = shown.bytes.subarray(z * h * w, (z + 1) * h * w);
    const masks = shown.bytes.subarray((n + z) * h * w, (n + z + 1) * h * w);
    const [low, high] = windows.value.split(" ").map(Number);
    const image = new ImageData(w, h);
    hu.forEach((value, i) => {
      const grey = (255 * (value - offset - low)) / (high - low); // clamped by the array
      image.data.set([grey, grey, grey, 255], 4 * i);
    });
    const small = new OffscreenCanvas(w, h);
    small.getContext("2d").putImageData(image, 0, 0);
    const scale = SCREEN / Math.max(h, w);
    [canvas.width, canvas.height] = [Math.round(w * scale), Math.round(h * scale)];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    const on = outlines.filter((outline) => find(`[data-bit="${outline.bit}"]`).checked);
    const paths = on.map((outline) => {
      const path = new Path2D();
      for (const line of lines(masks, outline.bit, h, w)) {
        line.forEach(([x, y], i) => path[i ? "lineTo" : "moveTo"](x * scale, y * scale));
        path.closePath();
      }
      return path;
    });
    const stroke = (path, colour, width, dash) => {
      pen.setLineDash(dash);
      [pen.strokeStyle, pen.lineWidth] = [colour, width];
      pen.stroke(path);
    };
    paths.forEach((path) => stroke(path, "#000", 4.5, [])); // rims first: no outline hides another
    paths.forEach((path, i) => stroke(path, on[i].colour, 2.2, on[i].dash));
    [pen.fillStyle, pen.font] = ["#fff", "bold 18px sans-serif"];
    pen.fillText("R", 8, 24);
    pen.fillText("L", canvas.width - 22, 24);
    const bar = (BAR_MM / shown.pixel_mm) * scale;
    pen.fillRect(canvas.width - bar - 12, canvas.height - 14, bar, 3);
    const where = `slice ${z + 1} of ${n}`;
    output.textContent = where;
    slider.setAttribute("aria-valuetext", where);
    const blood = on.filter((outline) => masks.some((value) => value & outline.bit)).map((outline) => outline.name);
    canvas.setAttribute("aria-label", `CT of ${shown.name}, ${where}; ${blood.join(", ") || "no outline"}`);
  };

  const turn = (steps) => {
    slider.value = Number(slider.value) + steps; // stays within its ends
    draw();
  };

  const show = async (key) => {
    const one = cases.find((each) => each.key === key);
    current = key;
    find(".cases-name").textContent = one.name;
    find("dl").replaceChildren(...Object.entries(one.numbers).flatMap(([name, value]) => {
      const [term, said] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, said.textContent] = [name, value];
      return [term, said];
    }));
    for (const mark of every("[data-case]")) {
      mark.classList.toggle("cases-now", mark.dataset.case === key);
      if (mark.matches(".cases-point")) mark.setAttribute("aria-pressed", String(mark.dataset.case === key));
    }
    try {
      const bytes = await unpack(await text(one));
      if (key !== current) return; // another case was chosen in the meantime
      shown = { ...one, bytes };
    } catch (error) {
      find(".cases-name").textContent = `${one.name}: ${error.message}`;
      return;
    }
    slider.max = one.shape[0];
    slider.value = one.start + 1;
    draw();
  };

  slider.addEventListener("input", draw);
  windows.addEventListener("change", draw);
  every("[data-bit]").forEach((box) => box.addEventListener("change", draw));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    turn(Math.sign(event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -1e4, End: 1e4 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    turn(steps[event.key]);
  });
  root.addEventListener("click", (event) => {
    const [mark, button] = ["[data-case]", "[data-step]"].map((what) => event.target.closest(what));
    const now = cases.findIndex((one) => one.key === current);
    if (button) show(cases[(now + Number(button.dataset.step) + cases.length) % cases.length].key);
    if (!mark) return;
    show(mark.dataset.case);
    find(".cases-viewer").scrollIntoView({ block: "nearest" });
  });
  root.addEventListener("keydown", (event) => {
    const point = event.target.closest(".cases-point");
    if (!point) return;
    const points = [...point.parentNode.querySelectorAll(".cases-point")];
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const target = step ? points[(points.indexOf(point) + step + points.length) % points.length] : point;
    if (!step && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    points.forEach((each) => each.setAttribute("tabindex", each === target ? "0" : "-1"));
    target.focus();
    show(target.dataset.case);
  });
  show(cases[0].key);
})();
