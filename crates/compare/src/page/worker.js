// Off the page's thread: base64 to files, files to pyramids of halves, differences of two pictures.
//
// Asked: { task, kind: "decode", source, type, first } or { task, kind: "difference", a, b, width, height, gain, first }, where
// `source` is a Blob or pieces of base64, `a` and `b` are { blob, place } and `first` is the finest level wanted (0: every pixel).
// Answered: { task, levels, blob, peak, mean } or { task, error }; `levels[k]` is an ImageBitmap of 1/2^k of the size.
"use strict";

/** The last level is the first whose longer side is at most this. */
const COARSEST = 512;

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function surface(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  // In main memory: these are read once and handed on.
  return [canvas, canvas.getContext("2d", { alpha: false, willReadFrequently: true })];
}

/** The mean of each two by two pixels: a linear filter that samples between them. */
function halve(source) {
  const [canvas, context] = surface(Math.ceil(source.width / 2), Math.ceil(source.height / 2));
  context.imageSmoothingQuality = "low";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas.transferToImageBitmap();
}

function pyramid(bitmap, first) {
  const levels = [bitmap];
  while (Math.max(levels.at(-1).width, levels.at(-1).height) > COARSEST) levels.push(halve(levels.at(-1)));
  for (let level = 0; level < Math.min(first, levels.length - 1); level++) {
    levels[level].close();
    levels[level] = null;
  }
  return levels;
}

async function decode({ source, type, first }) {
  const blob = Array.isArray(source) ? new Blob(source.map(bytesOf), { type }) : source;
  return { blob, levels: pyramid(await createImageBitmap(blob), first) };
}

/** The last difference before it was amplified, as people try several gains. */
let last = { key: "", canvas: null };

async function subtract({ a, b, width, height }) {
  const [canvas, context] = surface(width, height);
  context.imageSmoothingQuality = "high";
  for (const [{ blob, place }, operation] of [[a, "source-over"], [b, "difference"]]) {
    const bitmap = await createImageBitmap(blob);
    context.globalCompositeOperation = operation;
    context.drawImage(bitmap, place.x, place.y, place.width, place.height);
    bitmap.close();
  }
  const { data } = context.getImageData(0, 0, width, height);
  let [peak, sum] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue] = [data[i], data[i + 1], data[i + 2]];
    sum += red + green + blue;
    peak = Math.max(peak, red, green, blue);
  }
  return { canvas, peak, mean: sum / (3 * width * height) };
}

async function difference(asked) {
  if (last.key !== asked.key) last = { key: asked.key, ...(await subtract(asked)) };
  const [canvas, context] = surface(asked.width, asked.height);
  context.drawImage(last.canvas, 0, 0);
  context.globalCompositeOperation = "lighter";
  for (let gain = 1; gain < asked.gain; gain *= 2) context.drawImage(canvas, 0, 0);
  return { levels: pyramid(canvas.transferToImageBitmap(), asked.first), peak: last.peak, mean: last.mean };
}

onmessage = async ({ data }) => {
  try {
    const answer = await (data.kind === "decode" ? decode(data) : difference(data));
    postMessage({ task: data.task, ...answer }, answer.levels.filter(Boolean));
  } catch (error) {
    postMessage({ task: data.task, error: String(error?.message ?? error) });
  }
};
