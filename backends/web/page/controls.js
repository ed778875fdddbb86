// Controls for what the model asks: classes, numbers, and arguments with their defaults.

const OWN = new Set(["seed", "index"]); // inputs that the page itself fills

/** Make a control for each input; the defaults of the manifest are where they start. */
export function build(place, inputs) {
  for (const i of inputs.filter((i) => !OWN.has(i.role))) {
    const label = document.createElement("label");
    label.append(title(i), i.classes ? classes(i) : number(i));
    place.append(label);
  }
}

/** The values of all controls by input name. Throws what is wrong with one of them. */
export function read(form, inputs) {
  const values = {};
  for (const i of inputs.filter((i) => !OWN.has(i.role))) {
    const text = form.elements.namedItem(`input ${i.name}`).value.trim();
    const size = i.shape.filter((d) => d !== "B").reduce((a, b) => a * b, 1);
    const found = text === "turn" ? text : text.split(/[\s,]+/).map(Number);
    const fits = found === "turn" || ((found.length === size || found.length === 1) && found.every(Number.isFinite));
    if (!fits || text === "") throw new Error(`${i.name} needs ${size === 1 ? "a number" : `${size} numbers`}`);
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
  if (i.dtype === "int" && i.role === "argument") input.min = "0";
  const size = i.shape.filter((d) => d !== "B").reduce((a, b) => a * b, 1);
  input.value = Array(size).fill(i.default ?? 0).join(" ");
  input.required = true;
  return input;
}
