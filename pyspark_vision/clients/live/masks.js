// Masks as COCO counts them, column by column, onto pixels of the screen: inside half in colour, and
// their edge wholly so, as the contact sheet has them. They are sampled at the screen's own pixels.

const FILL = 128; // of 255
const MOST_CHARACTERS = 7; // of a number: five bits each

/** mask: [height, width, COCO's text]; null for what is none. */
export function runs([height, width, text]) {
  const starts = [];
  const ends = [];
  const lengths = [];
  let pixel = 0;
  for (let at = 0; at < text.length; ) {
    let length = 0;
    let isMore = true;
    for (let part = 0; isMore; part += 1) {
      const bits = text.charCodeAt(at++) - 48;
      if (!(bits >= 0 && bits < 64) || part >= MOST_CHARACTERS) return null;
      length += (bits & 0x1f) * 2 ** (5 * part);
      isMore = (bits & 0x20) !== 0;
      if (!isMore && bits & 0x10) length -= 2 ** (5 * (part + 1));
    }
    if (lengths.length > 2) length += lengths[lengths.length - 2];
    if (length < 0 || pixel + length > height * width) return null;
    if (lengths.length % 2 && length) {
      starts.push(pixel);
      ends.push(pixel + length);
    }
    lengths.push(length);
    pixel += length;
  }
  return pixel === height * width ? { height, width, starts, ends } : null;
}

let scratch = null;

/** Onto a canvas of width x height; line: how wide the edge is; color: #rrggbb. */
export function drawMask(context, width, height, mask, line, color) {
  const window = sampled(mask, width, height);
  if (!window) return;
  markEdges(window, width, height, line);
  scratch ??= new OffscreenCanvas(1, 1);
  Object.assign(scratch, { width: window.wide, height: window.tall });
  const data = new ImageData(window.wide, window.tall);
  paint(data.data, window, color);
  scratch.getContext("2d").putImageData(data, 0, 0);
  context.drawImage(scratch, window.left, window.top);
}

/** The first pixel of the screen whose middle lies at or beyond this place of the mask. */
const first = (place, cells, pixels) => Math.ceil((place * pixels) / cells - 0.5);

/** The canvas' pixels that are inside, columns first, within the least window that holds them. */
function sampled({ height, width, starts, ends }, canvasWidth, canvasHeight) {
  if (!starts.length) return null;
  const left = Math.max(0, first(Math.floor(starts[0] / height), width, canvasWidth));
  const right = Math.min(canvasWidth, first(Math.ceil(ends.at(-1) / height), width, canvasWidth));
  let least = height;
  let most = 0;
  for (let n = 0; n < starts.length; n += 1) {
    const isOver = Math.floor(starts[n] / height) !== Math.floor((ends[n] - 1) / height);
    least = isOver ? 0 : Math.min(least, starts[n] % height);
    most = isOver ? height : Math.max(most, ((ends[n] - 1) % height) + 1);
  }
  const top = Math.max(0, first(least, height, canvasHeight));
  const bottom = Math.min(canvasHeight, first(most, height, canvasHeight));
  const [wide, tall] = [right - left, bottom - top];
  if (wide < 1 || tall < 1) return null;
  const inside = new Uint8Array(wide * tall);
  let run = 0;
  for (let x = 0; x < wide; x += 1) {
    const begins = Math.min(width - 1, Math.floor(((left + x + 0.5) * width) / canvasWidth)) * height;
    while (run < starts.length && ends[run] <= begins) run += 1;
    for (let n = run; n < starts.length && starts[n] < begins + height; n += 1) {
      const from = first(Math.max(0, starts[n] - begins), height, canvasHeight) - top;
      const to = first(Math.min(height, ends[n] - begins), height, canvasHeight) - top;
      inside.fill(1, x * tall + Math.max(0, from), x * tall + Math.max(0, Math.min(tall, to)));
    }
  }
  return { left, top, wide, tall, inside };
}

/** 2 where a pixel outside is near along a row or column; the picture's own border is no edge. */
function markEdges({ left, top, wide, tall, inside }, canvasWidth, canvasHeight, line) {
  for (let x = 0; x < wide; x += 1) mark(inside, x * tall, 1, tall, line, top === 0, top + tall === canvasHeight);
  for (let y = 0; y < tall; y += 1) mark(inside, y, tall, wide, line, left === 0, left + wide === canvasWidth);
}

function mark(inside, begin, step, count, line, isOpenBefore, isOpenAfter) {
  for (let at = 0; at < count; ) {
    if (!inside[begin + at * step]) {
      at += 1;
      continue;
    }
    const from = at;
    while (at < count && inside[begin + at * step]) at += 1;
    if (from > 0 || !isOpenBefore) {
      for (let n = from; n < Math.min(at, from + line); n += 1) inside[begin + n * step] = 2;
    }
    if (at < count || !isOpenAfter) {
      for (let n = Math.max(from, at - line); n < at; n += 1) inside[begin + n * step] = 2;
    }
  }
}

function paint(bytes, { wide, tall, inside }, color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  for (let x = 0; x < wide; x += 1) {
    for (let y = 0; y < tall; y += 1) {
      const kind = inside[x * tall + y];
      if (!kind) continue;
      const at = 4 * (y * wide + x);
      bytes[at] = red;
      bytes[at + 1] = green;
      bytes[at + 2] = blue;
      bytes[at + 3] = kind === 2 ? 255 : FILL;
    }
  }
}
