// Numbers from text, and from files: NumPy's arrays, JSON, text, and pictures.

const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, i8: BigInt64Array, u1: Uint8Array, b1: Uint8Array };

/** Numbers apart by spaces or commas; brackets mean nothing. */
export const parsed = (text) => text.split(/[\s,[\]]+/).filter(Boolean).map(Number);

/** The numbers of a file for an input of these dimensions. space: the range of what is pictured. */
export async function numbersOf(file, dims, space) {
  if (file.type.startsWith("image/")) return picture(file, dims, space);
  return file.name.endsWith(".npy") ? array(await file.arrayBuffer()) : parsed(await file.text());
}

/** An array as `numpy.save` writes it: a header that is a dictionary of Python's, then the numbers. */
function array(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 12 || view.getUint32(0) !== 0x934e554d) throw new Error("it is no array of NumPy's");
  const wide = view.getUint8(6) > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(buffer.slice(10, start));
  const kind = header.match(/'descr': '[<|](\w\d)'/)?.[1];
  if (!KINDS[kind]) throw new Error("its numbers are of a kind that this page does not read: save it as float32");
  if (header.includes("'fortran_order': True")) throw new Error("its columns come first: save numpy.ascontiguousarray(x)");
  return Array.from(new KINDS[kind](buffer.slice(start)), Number);
}

/** A picture in the size of the input, in grey or in colour, channels first. */
async function picture(file, dims, { low = 0, high = 1 } = {}) {
  const [channels, height, width] = dims;
  if (dims.length !== 3 || ![1, 3].includes(channels)) throw new Error("the input is no picture");
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(await createImageBitmap(file), 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const mixed = channels === 1 ? [[0.299, 0.587, 0.114]] : [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  const share = (mix, at) => mix.reduce((sum, m, c) => sum + m * data[4 * at + c], 0) / 255;
  return mixed.flatMap((mix) => Array.from({ length: width * height }, (_, at) => low + (high - low) * share(mix, at)));
}
