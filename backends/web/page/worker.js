// Runs a sampler's files beside the page, so that the page stays alive while they work.
//
// In:  { type: "draw", variant, engine, settings: { seed, count, values }, live }, { type: "stop" }
// Out: { type: "state", variant, round, of, values, dims }  after each round, where the loop is here
//      { type: "done", variant, engine, x, dims, states, step, rounds, stopped }, with the milliseconds of a step: the median, or a share
//      { type: "note", text }, { type: "failed", text }

const STRIDE = 1000003n; // between the seeds of two persons' seeds, as in Python
const ARRAYS = { float: [Float32Array, "float32", Number], int: [BigInt64Array, "int64", BigInt], bool: [Uint8Array, "bool", Number] };
const manifest = await (await fetch("manifest.json")).json();
const sessions = new Map();
let stopped = false;

/** The runtime: the one with WebGPU is twice as large, and loaded only for it. */
async function runtime(engine) {
  const ort = await import(engine === "webgpu" ? "./ort/ort.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", self.location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  return ort;
}

async function session(ort, engine, variant, part) {
  const key = `${engine} ${variant} ${part}`;
  if (!sessions.has(key)) {
    const file = await fetch(`${variant}/${part}.onnx`);
    if (!file.ok) throw new Error(`${variant}/${part}.onnx is not there (${file.status})`);
    const providers = engine === "webgpu" && part === "step" ? ["webgpu", "wasm"] : ["wasm"];
    sessions.set(key, await ort.InferenceSession.create(await file.arrayBuffer(), { executionProviders: providers, logSeverityLevel: 3 }));
  }
  return sessions.get(key);
}

/** Tensors by input name: the seeds of a person's seed, and each value for all examples or one for each. */
function feeds(ort, { seed, count, values }) {
  const found = {};
  for (const i of manifest.inputs) {
    const dims = i.shape.map((d) => (d === "B" ? count : d));
    const [Kind, name, as] = ARRAYS[i.dtype];
    const data = new Kind(dims.reduce((a, b) => a * b, 1));
    const each = data.length / (dims[0] === count ? count : 1) || 1;
    const value = values[i.name];
    for (let k = 0; k < data.length; k++) {
      const example = Math.floor(k / each);
      if (i.role === "seed") data[k] = BigInt.asIntN(64, BigInt(seed) * STRIDE + BigInt(example));
      else if (i.role === "index") data[k] = BigInt(example);
      else if (value === "turn") data[k] = as(example % i.classes);
      else data[k] = as(Array.isArray(value) ? value[k % value.length] : value);
    }
    found[i.name] = new ort.Tensor(name, data, dims);
  }
  return found;
}

const wanted = (session, all) => Object.fromEntries(session.inputNames.map((name) => [name, all[name]]));
const numbers = (tensor) => (tensor.type === "int64" ? Float64Array.from(tensor.data, Number) : Float32Array.from(tensor.data));
const state = (i) => (i ? `x${i}` : "x"); // names of results
const pause = () => new Promise((go) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = go; port2.postMessage(0); });

async function whole(ort, variant, given) {
  const sampler = await session(ort, "whole", variant, "sampler");
  const begun = performance.now();
  const out = await sampler.run(wanted(sampler, given));
  const milliseconds = performance.now() - begun;
  const shown = sampler.outputNames.filter((name) => name.startsWith("trajectory")).map((name) => out[name]);
  const states = shown.flatMap((t) => {
    const all = numbers(t), size = all.length / (t.dims[0] || 1);
    return Array.from({ length: t.dims[0] }, (_, k) => all.subarray(k * size, (k + 1) * size));
  });
  const rounds = states.length || 1;
  return { x: numbers(out.x), dims: out.x.dims, states, step: milliseconds / rounds, rounds };
}

async function steps(ort, engine, variant, given) {
  const parts = []; // opened one after the other: the runtime is set up by the first
  for (const part of ["start", "step", "finish"]) parts.push(await session(ort, engine, variant, part));
  const [start, step, finish] = parts;
  const { carried, shown } = manifest.loop;
  const begun = await start.run(wanted(start, given));
  const rounds = Number(begun.x.data[0]);
  let values = Array.from({ length: carried }, (_, i) => begun[state(i + 1)]);
  const states = [], named = (list) => Object.fromEntries(list.map((v, i) => [`state_${i}`, v]));
  const times = [];
  for (let k = 0; k < rounds && !stopped; k++) {
    if (shown !== null) states.push(numbers(values[shown]));
    const index = new ort.Tensor("int64", BigInt64Array.of(BigInt(k)), []);
    const before = performance.now();
    const out = await step.run(wanted(step, { ...given, ...named(values), step_index: index }));
    times.push(performance.now() - before);
    values = Array.from({ length: carried }, (_, i) => out[state(i)]);
    const seen = shown === null ? null : numbers(values[shown]);
    self.postMessage({ type: "state", variant, round: k + 1, of: rounds, values: seen, dims: seen && values[shown].dims });
    await pause();
  }
  const out = await finish.run(wanted(finish, { ...given, ...named(values) }));
  return { x: numbers(out.x), dims: out.x.dims, states, step: times.sort((a, b) => a - b)[times.length >> 1] ?? 0, rounds };
}

/** The engine that was asked for, or the next best one, and why. */
async function able(engine) {
  if (engine === "whole") return engine;
  if (manifest.loop === null) {
    self.postMessage({ type: "note", text: "This sampler is not one loop: it runs as one file." });
    return "whole";
  }
  if (engine === "webgpu" && !(await navigator.gpu?.requestAdapter())) {
    self.postMessage({ type: "note", text: "This browser has no WebGPU adapter: WebAssembly runs the steps." });
    return "steps";
  }
  return engine;
}

self.onmessage = async ({ data: asked }) => {
  if (asked.type === "stop") {
    stopped = true;
    return;
  }
  stopped = false;
  try {
    const engine = await able(asked.engine);
    const ort = await runtime(engine);
    const given = feeds(ort, asked.settings);
    const found = engine === "whole" ? await whole(ort, asked.variant, given) : await steps(ort, engine, asked.variant, given);
    self.postMessage({ type: "done", variant: asked.variant, engine, ...found, stopped });
  } catch (problem) {
    self.postMessage({ type: "failed", text: `${asked.variant}, ${asked.engine}: ${problem.message ?? problem}` });
  }
};
self.postMessage({ type: "ready" });
