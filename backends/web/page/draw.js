// Pictures of samples on a canvas: a grid of images, points of the plane, or curves; lines of text for tokens.

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#777777"];
const GAP = 1, SIDE = 544;

/** Which picture there is of samples of this shape. */
export function kindOf(manifest, dims) {
  if (manifest.symbols || manifest.space.dtype === "int") return "text";
  if (dims.length === 4 && (dims[1] === 1 || dims[1] === 3)) return "images";
  return dims.length === 2 && dims[1] === 2 ? "points" : "curves";
}

/** Draw samples, row-major in `values`; `window` is the half side of the plane that points need, kept between states. */
export function draw(panel, manifest, values, dims, labels, window) {
  const kind = kindOf(manifest, dims);
  panel.canvas.hidden = kind === "text";
  panel.text.hidden = kind !== "text";
  if (kind === "text") panel.text.textContent = lines(values, dims, manifest.symbols);
  else if (kind === "images") images(panel.canvas, values, dims, manifest.space);
  else if (kind === "points") points(panel.canvas, values, labels, window);
  else curves(panel.canvas, values, dims, labels);
}

function images(canvas, values, [n, channels, height, width], { low = -1, high = 1 }) {
  const columns = Math.ceil(Math.sqrt(n)), rows = Math.ceil(n / columns);
  canvas.width = columns * (width + GAP) - GAP;
  canvas.height = rows * (height + GAP) - GAP;
  canvas.classList.add("pixels");
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const area = height * width;
  for (let i = 0; i < n; i++) {
    const left = (i % columns) * (width + GAP), top = Math.floor(i / columns) * (height + GAP);
    for (let p = 0; p < area; p++) {
      const at = 4 * ((top + Math.floor(p / width)) * canvas.width + left + (p % width));
      for (let c = 0; c < 3; c++) {
        const v = values[(i * channels + (channels === 3 ? c : 0)) * area + p];
        picture.data[at + c] = (255 * (v - low)) / (high - low); // clamped, and rounded, by its type
      }
      picture.data[at + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

/** Half the side of a square around 0 that holds nearly all points. */
export function reach(values) {
  const sizes = Float32Array.from(values, Math.abs).filter(Number.isFinite).sort();
  return 1.15 * (sizes[Math.floor(0.995 * (sizes.length - 1))] || 1);
}

function points(canvas, values, labels, window) {
  const context = blank(canvas);
  const ink = getComputedStyle(canvas).color, scale = SIDE / 2 / window;
  const step = round(window / 2);
  context.font = "12px system-ui";
  for (let k = -Math.floor(window / step); k * step < window; k++) {
    const at = SIDE / 2 + k * step * scale;
    context.globalAlpha = 0.15;
    context.fillStyle = ink;
    context.fillRect(at, 0, 1, SIDE);
    context.fillRect(0, SIDE - at, SIDE, 1);
    context.globalAlpha = 0.6;
    context.fillText(`${+(k * step).toPrecision(6)}`, at + 4, SIDE - 6);
  }
  context.globalAlpha = 0.75;
  for (let i = 0; i < values.length / 2; i++) {
    context.fillStyle = COLOURS[labels ? labels[i] % COLOURS.length : 0];
    context.beginPath();
    context.arc(SIDE / 2 + values[2 * i] * scale, SIDE / 2 - values[2 * i + 1] * scale, 4, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function curves(canvas, values, dims, labels) {
  const context = blank(canvas), n = dims[0] || 1, length = values.length / n;
  const most = reach(values);
  context.lineWidth = 1.5;
  context.globalAlpha = 0.7;
  for (let i = 0; i < n; i++) {
    context.strokeStyle = COLOURS[(labels ? labels[i] : i) % COLOURS.length];
    context.beginPath();
    for (let k = 0; k < length; k++) {
      context.lineTo(length > 1 ? (k / (length - 1)) * SIDE : SIDE / 2, (SIDE / 2) * (1 - values[i * length + k] / most));
      if (length === 1) context.lineTo(SIDE / 2 + 6, (SIDE / 2) * (1 - values[i] / most));
    }
    context.stroke();
  }
  context.globalAlpha = 1;
}

function lines(values, dims, symbols) {
  const n = dims[0] || 1, length = values.length / n;
  const rows = Array.from({ length: n }, (_, i) => Array.from(values.subarray(i * length, (i + 1) * length)));
  return rows.map((row) => (symbols ? row.map((v) => symbols[v] ?? "?").join("") : row.join(" "))).join("\n");
}

/** An empty square that is sharp on this screen; its units are SIDE a side. */
function blank(canvas) {
  const sharp = Math.max(1, devicePixelRatio);
  canvas.width = canvas.height = SIDE * sharp;
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  return context;
}

/** The largest of 1, 2, 5 times a power of ten that is not above a number. */
function round(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1);
}
