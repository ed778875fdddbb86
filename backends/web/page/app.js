// The page: reads the controls, asks the worker for samples, and shows them as they come.
//
// `window.specc.sample({ variant, engine, seed, count, values })` gives the same to scripts, as a promise.

import { build, defaults, read } from "./controls.js";
import { draw, kindOf, reach } from "./draw.js";

const at = (id) => document.getElementById(id);
const manifest = await (await fetch("manifest.json")).json();
const worker = new Worker("worker.js", { type: "module" });
const panels = new Map(); // variant -> { canvas, text, caption, result }
let waiting = null; // who waits for the worker
let seen = () => {}; // called with each state on the way

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

worker.onerror = (problem) => say(`The worker could not start: ${problem.message ?? "see the console"}`, true);
worker.onmessage = ({ data }) => {
  if (data.type === "ready") ready();
  else if (data.type === "state") seen(data);
  else if (data.type === "note") at("origin").dataset.note = data.text;
  else if (data.type === "done") waiting.resolve(data);
  else waiting.reject(new Error(data.text));
};

let queue = Promise.resolve();
/** Samples of one variant; one after the other, since there is one worker. */
function sample({ variant = "float", engine = "whole", seed = 0, count = 16, values = defaults(manifest.inputs) } = {}) {
  const ask = () => new Promise((resolve, reject) => {
    waiting = { resolve, reject };
    worker.postMessage({ type: "draw", variant, engine, settings: { seed, count, values } });
  });
  queue = queue.then(ask, ask);
  return queue;
}

function panel(variant) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas"), text = document.createElement("pre"), caption = document.createElement("figcaption");
  figure.className = "panel";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Samples, ${variant}`);
  text.hidden = true;
  figure.append(canvas, text, caption);
  const size = (manifest.variants[variant].sampler / 2 ** 20).toFixed(2);
  caption.innerHTML = "<strong></strong><span></span><span></span>";
  caption.children[0].textContent = variant;
  caption.children[1].textContent = `${size} MB`;
  return { figure, canvas, text, timing: caption.children[2], window: 0 };
}

/** The variants that are chosen, each with a panel; side by side. */
function chosen() {
  const names = [...at("variants").querySelectorAll("input:checked")].map((box) => box.value);
  for (const name of names) if (!panels.has(name)) panels.set(name, panel(name));
  at("panels").replaceChildren(...names.map((name) => panels.get(name).figure));
  return names;
}

/** Classes of the samples, which colour points. */
function labels(values, count) {
  const i = manifest.inputs.find((i) => i.role === "condition" && i.classes);
  return i && Array.from({ length: count }, (_, k) => (values[i.name] === "turn" ? k % i.classes : values[i.name]));
}

function show(p, values, dims) {
  if (kindOf(manifest, dims) === "points") p.window = Math.max(p.window, reach(values));
  draw(p, manifest, values, dims, p.labels, p.window);
}

async function run() {
  const values = read(at("controls"), manifest.inputs);
  const [seed, count] = [at("seed").valueAsNumber, at("count").valueAsNumber];
  const engine = at("controls").elements.engine.value;
  const names = chosen();
  if (names.length === 0) throw new Error("Choose the weights to draw with.");
  for (const name of names) {
    const p = panels.get(name);
    Object.assign(p, { window: 0, labels: labels(values, count), result: null });
    say(`Drawing ${count} samples, ${name}`);
    seen = (state) => {
      if (state.values) show(p, state.values, state.dims);
      p.timing.textContent = `${state.round} of ${state.of}`;
    };
    const found = await sample({ variant: name, engine, seed, count, values });
    p.result = found;
    show(p, found.x, found.dims);
    p.timing.textContent = `${found.rounds} steps, ${found.step.toFixed(2)} ms a step`;
    if (found.stopped) break;
  }
  timeline();
  say(summary(names));
}

function summary(names) {
  const done = names.filter((name) => panels.get(name).result);
  const notes = at("origin").dataset.note ? ` ${at("origin").dataset.note}` : "";
  delete at("origin").dataset.note;
  const other = done.find((name) => name !== "float");
  if (done.includes("float") && other) {
    const gap = apart(panels.get(other).result.x, panels.get("float").result.x);
    return `Done. ${other} is ${(100 * gap).toFixed(1)}% away from float.${notes}`;
  }
  return `Done.${notes}`;
}

/** The norm of a - b over that of b. */
function apart(a, b) {
  let difference = 0, size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / (size || 1));
}

/** Lets one go back through the states of what was drawn. */
function timeline() {
  const most = Math.max(0, ...[...panels.values()].map((p) => p.result?.states.length ?? 0));
  Object.assign(at("state"), { max: most, value: most, disabled: most === 0 });
  at("round").value = most ? `${most} of ${most}` : "";
}

at("state").addEventListener("input", () => {
  const k = at("state").valueAsNumber;
  at("round").value = `${k} of ${at("state").max}`;
  for (const p of panels.values()) if (p.result) show(p, p.result.states[k] ?? p.result.x, p.result.dims);
});

/** The samples that Python made when the page was written, and those of this browser. */
async function check() {
  const { x, ...settings } = manifest.check;
  const found = await sample({ ...settings, engine: manifest.loop ? at("controls").elements.engine.value : "whole" });
  const largest = x.reduce((most, v, i) => Math.max(most, Math.abs((v ?? NaN) - found.x[i])), 0);
  say(`The largest difference from Python is ${largest.toExponential(1)}, over ${x.length} numbers.`, !(largest <= 1e-4));
  return largest;
}

/** Run something with the buttons off, and say what went wrong. */
async function busy(work) {
  const buttons = ["draw", "check"].map(at);
  for (const b of buttons) b.disabled = true;
  at("stop").disabled = false;
  try {
    return await work();
  } catch (problem) {
    say(problem.message, true);
  } finally {
    for (const b of buttons) b.disabled = false;
    at("stop").disabled = true;
    seen = () => {};
  }
}

function ready() {
  say("Ready.");
  at("draw").disabled = at("check").disabled = false;
  window.specc = { manifest, sample, check: () => busy(check), run: () => busy(run) };
}

function prepare() {
  document.title = at("model").textContent = `${manifest.model}: ${manifest.entry}`;
  at("about").textContent = manifest.doc || "A sampler that runs in this browser.";
  at("origin").textContent = `Spec ${manifest.digest.slice(0, 12)}, ${manifest.runtime}. Nothing leaves this page.`;
  build(at("inputs"), manifest.inputs, manifest.spaces);
  for (const name of Object.keys(manifest.variants)) {
    const label = document.createElement("label"), box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: name, checked: true });
    label.append(box, ` ${name}`);
    at("variants").append(label);
  }
  for (const radio of at("controls").elements.engine) {
    radio.disabled = radio.value !== "whole" && manifest.loop === null;
    radio.checked = radio.value === (manifest.loop === null ? "whole" : "steps");
  }
  at("dice").onclick = () => { at("seed").value = Math.floor(Math.random() * 1e6); };
  at("stop").onclick = () => worker.postMessage({ type: "stop" });
  at("check").onclick = () => busy(check);
  at("controls").onsubmit = (event) => { event.preventDefault(); busy(run); };
}

prepare();
