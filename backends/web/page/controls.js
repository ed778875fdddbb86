// Controls for what the model asks: classes, numbers, and arguments with their defaults.

import { numbersOf, parsed } from "./files.js";

const FEW = 16; // numbers of an input that are shown in a line
const OWN = new Set(["seed", "index"]); // inputs that the page itself fills

/** Make a control for each input; the defaults of the manifest are where they start. spaces: of conditions, by name. */
export function build(place, inputs, spaces) {
  for (const i of inputs.filter((i) => !OWN.has(i.role))) {
    const label = document.createElement("label");
    label.append(title(i), i.classes ? classes(i) : size(i) > FEW ? many(i, spaces[i.name]) : number(i));
    place.append(label);
  }
}

/** The values of all controls by input name. Throws what is wrong with one of them. */
export function read(form, inputs) {
  const values = {};
  for (const i of inputs.filter((i) => !OWN.has(i.role))) {
    const text = form.elements.namedItem(`input ${i.name}`).value.trim();
    const found = text === "turn" ? text : parsed(text);
    const fits = found === "turn" || ((found.length === size(i) || found.length === 1) && found.every(Number.isFinite));
    if (!fits) throw new Error(`${i.name} needs ${size(i) === 1 ? "a number" : `${size(i)} numbers, or one for all`}`);
    if (i.dtype !== "float" && found !== "turn" && !found.every(Number.isInteger)) throw new Error(`${i.name} needs whole numbers`);
    values[i.name] = found.length === 1 ? found[0] : found;
  }
  return values;
}

/** The values that all controls start from. */
export function defaults(inputs) {
  const start = (i) => (i.classes ? "turn" : (i.default ?? 0));
  return Object.fromEntries(inputs.filter((i) => !OWN.has(i.role)).map((i) => [i.name, start(i)]));
}

const dims = (i) => i.shape.filter((d) => d !== "B");
const size = (i) => dims(i).reduce((a, b) => a * b, 1);
const title = (i) => (i.role === "condition" && i.classes ? `Class ${i.name}` : i.name[0].toUpperCase() + i.name.slice(1));

function classes(i) {
  const select = document.createElement("select");
  select.name = `input ${i.name}`;
  select.append(new Option("all in turn", "turn"));
  for (let k = 0; k < i.classes; k++) select.append(new Option(`${k}`, `${k}`));
  return select;
}

function number(i) {
  const input = document.createElement("input");
  const single = i.shape.every((d) => d === "B");
  input.name = `input ${i.name}`;
  input.type = single ? "number" : "text";
  if (single) input.step = i.dtype === "float" ? "any" : "1";
  if (i.dtype === "int" && i.role === "argument") input.min = `${i.least ?? 0}`;
  input.value = Array(size(i)).fill(i.default ?? 0).join(" ");
  input.required = true;
  return input;
}

/** A place to paste numbers into, and a file that fills it. */
function many(i, space) {
  const area = document.createElement("textarea"), file = document.createElement("input"), both = document.createElement("span");
  Object.assign(area, { name: `input ${i.name}`, value: `${i.default ?? 0}`, required: true, rows: 3 });
  area.title = `${size(i)} numbers (${dims(i).join(" x ")}), or one for all`;
  area.oninput = () => area.setCustomValidity("");
  Object.assign(file, { type: "file", accept: ".npy,.json,.txt,image/*" });
  file.setAttribute("aria-label", `A file for ${i.name}`);
  file.onchange = async () => {
    try {
      area.value = (await numbersOf(file.files[0], dims(i), space)).join(" ");
      area.oninput();
    } catch (problem) {
      area.setCustomValidity(`${file.files[0].name}: ${problem.message}`);
      area.reportValidity();
    }
  };
  both.append(area, file);
  return both;
}
