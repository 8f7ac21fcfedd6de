// Pictures and what was found on two canvases, one over the other: boxes, masks, points and text are
// drawn at the screen's own pixels, so they are sharp at any size, and without the picture when a
// filter changes.

import { drawMask, runs } from "./masks.js";
import { boxOf, drawCorners, drawPoints, kindsOf } from "./shapes.js";
import { percent } from "./words.js";

const LINE_PX = 2;
const HALO = "rgb(0 0 0 / .55)";
const FONT_PX = 12;
const PLATE_PX = 18;
const MOST_PLATES = 60;
const MOST_CLASSES = 5;
const MOST_LARGE_POINTS = 50; // more are a face's mesh
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

export class Picture {
  /** element: a .frame with both canvases in it; isShown(object); kinds: which shapes are drawn. */
  constructor(element, isShown, kinds) {
    this.element = element;
    this.isShown = isShown;
    this.kinds = kinds;
    [this.picture, this.boxes] = element.querySelectorAll("canvas");
    this.objects = [];
    this.sizes = new ResizeObserver((entries) => this.resized(entries[0]));
    try {
      // Told of another screen or zoom, too, where only the density changes.
      this.sizes.observe(this.boxes, { box: "device-pixel-content-box" });
    } catch {
      this.sizes.observe(this.boxes);
    }
  }

  /** bitmap: drawn and let go; null: no picture. */
  show(bitmap, objects) {
    this.objects = objects;
    if (bitmap) {
      const { width, height } = bitmap;
      if (this.picture.width !== width || this.picture.height !== height) {
        Object.assign(this.picture, { width, height });
        const stage = this.element.parentElement;
        stage.style.setProperty("--ratio", (width / height).toFixed(4));
      }
      this.picture.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
    } else if (bitmap === null) {
      this.picture.width = this.picture.width; // clears it
    }
    this.redraw();
  }

  redraw() {
    const { width, height } = this.boxes;
    const context = this.boxes.getContext("2d");
    context.clearRect(0, 0, width, height);
    drawObjects(context, width, height, this.objects.filter(this.isShown), this.kinds, devicePixelRatio || 1);
  }

  resized(entry) {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const ratio = devicePixelRatio || 1;
    // To the pixel, where the browser says it; emulated densities are not in it.
    const side = (length, given) => (Math.abs(given - length * ratio) < 1 ? given : Math.round(length * ratio));
    const width = side(entry.contentRect.width, exact?.inlineSize);
    const height = side(entry.contentRect.height, exact?.blockSize);
    if (width && height && (this.boxes.width !== width || this.boxes.height !== height)) {
      Object.assign(this.boxes, { width, height });
      this.redraw();
    }
  }

  /** The picture at its own size with what was found, as a PNG. */
  async saved() {
    const { width, height } = this.picture;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    drawObjects(context, width, height, this.objects.filter(this.isShown), this.kinds, Math.max(1, width / 800));
    return canvas.convertToBlob({ type: "image/png" });
  }
}

/** The best last, so that it lies on top; plates over all shapes. */
export function drawObjects(context, width, height, objects, kinds, scale) {
  const line = Math.max(1, Math.round(LINE_PX * scale));
  const halo = Math.max(1, Math.round(scale));
  // Without a score those that come later first, as they are listed best first.
  const ordered = objects
    .map((object, index) => ({ object, index, rank: object.score ?? -1, shapes: shapesOf(object, kinds) }))
    .filter(({ shapes }) => shapes.size)
    .sort((a, b) => a.rank - b.rank || b.index - a.index);
  const masks = ordered.filter(({ shapes }) => shapes.has("masks"));
  for (const { object } of masks) drawMask(context, width, height, maskOf(object), line, object.color);
  for (const { object, shapes } of ordered) {
    if (shapes.has("boxes")) drawBox(context, object, pixels(object.box, width, height), line, halo);
    if (shapes.has("text")) drawCorners(context, width, height, object, line, HALO);
    if (shapes.has("points")) drawPoints(context, width, height, object, line, HALO, MOST_LARGE_POINTS);
  }
  context.font = `600 ${Math.round(FONT_PX * scale)}px ${FONT}`;
  context.textBaseline = "middle";
  const texts = ordered.filter(({ shapes }) => shapes.has("text")).sort((a, b) => b.index - a.index);
  // A text's plate hides no other line, for both are to be read.
  const placed = texts.map(({ object }) => place(pixels(boxOf(object.corners), width, height)));
  const named = [...ordered.filter(({ object, shapes }) => object.box && !shapes.has("text")), ...texts];
  for (const { object, shapes } of named.slice(-MOST_PLATES).reverse()) {
    const isText = shapes.has("text");
    const edges = pixels(isText ? boxOf(object.corners) : object.box, width, height);
    drawPlate(context, width, height, object, edges, scale, placed, isText);
  }
  drawClasses(context, width, height, ordered.filter(({ shapes }) => shapes.has("classes")).reverse(), scale);
}

/** What of an object is drawn. A segment has a box where its mask is switched off. */
function shapesOf(object, kinds) {
  const shapes = new Set(kindsOf(object).filter((kind) => kinds[kind]));
  if (shapes.has("masks") && maskOf(object)) shapes.delete("boxes");
  else shapes.delete("masks");
  return shapes;
}

/** Read once, when it is first drawn. */
function maskOf(object) {
  if (object.runs === undefined) object.runs = object.mask ? runs(object.mask) : null;
  return object.runs;
}

function drawBox(context, object, [left, top, right, bottom], line, halo) {
  outline(context, left - halo, top - halo, right + halo, bottom + halo, line + 2 * halo, HALO);
  outline(context, left, top, right, bottom, line, object.color);
}

const place = ([left, top, right, bottom]) => ({ x: left, y: top, wide: right - left, tall: bottom - top });

const pixels = ([xmin, ymin, xmax, ymax], width, height) => {
  const left = Math.round(xmin * width);
  const top = Math.round(ymin * height);
  return [left, top, Math.max(left + 1, Math.round(xmax * width)), Math.max(top + 1, Math.round(ymax * height))];
};

/** A frame within these edges, made of four bars: no half pixels. */
function outline(context, left, top, right, bottom, line, color) {
  context.fillStyle = color;
  const across = Math.min(line, Math.ceil((right - left) / 2));
  const down = Math.min(line, Math.ceil((bottom - top) / 2));
  context.fillRect(left, top, right - left, down);
  context.fillRect(left, bottom - down, right - left, down);
  context.fillRect(left, top + down, across, bottom - top - 2 * down);
  context.fillRect(right - across, top + down, across, bottom - top - 2 * down);
}

function drawPlate(context, width, height, object, [left, top, right, bottom], scale, placed, isText) {
  const pad = Math.round(5 * scale);
  const tall = Math.round(PLATE_PX * scale);
  const line = Math.round(LINE_PX * scale);
  if (tall * 2 > height) return; // it would hide the picture
  const written = (most) => {
    const room = Math.min(width, most) - 2 * pad;
    const text = shortened(context, object.label, object.score === null ? "" : ` ${percent(object.score)}`, room);
    return { text, wide: Math.min(width, Math.ceil(context.measureText(text).width) + 2 * pad) };
  };
  let { text, wide } = written(Math.max(right - left, width / 2, 90 * scale));
  const x = () => Math.max(0, Math.min(left, width - wide));
  const isFree = (y) =>
    y >= 0 && y + tall <= height &&
    !placed.some((other) =>
      x() < other.x + other.wide && other.x < x() + wide && y < other.y + other.tall && other.y < y + tall);
  let y = [top - tall, top + line, bottom, bottom - line - tall].find(isFree);
  if (y === undefined && isText) {
    // Rather over its own line than over another one.
    ({ text, wide } = written(Math.max(right - left, 50 * scale)));
    y = Math.max(0, Math.min(top, height - tall));
  }
  y ??= Math.max(0, Math.min(top - tall, height - tall));
  placed.push({ x: x(), y, wide, tall });
  drawWritten(context, object, text, x(), y, wide, tall, pad, scale);
}

function drawWritten(context, object, text, x, y, wide, tall, pad, scale) {
  context.fillStyle = object.color;
  context.fillRect(x, y, wide, tall);
  context.fillStyle = object.ink;
  context.fillText(text, x + pad, y + tall / 2 + scale / 2);
}

/** The classes of the whole picture, best first, one below the other in its corner. */
function drawClasses(context, width, height, classes, scale) {
  const [pad, tall, gap] = [5, PLATE_PX, 2].map((length) => Math.round(length * scale));
  classes.slice(0, MOST_CLASSES).forEach(({ object }, index) => {
    const y = 3 * gap + index * (tall + gap);
    if (y + tall > height) return;
    const tail = object.score === null ? "" : ` ${percent(object.score)}`;
    const text = shortened(context, object.label, tail, width - 6 * gap - 2 * pad);
    const wide = Math.ceil(context.measureText(text).width) + 2 * pad;
    drawWritten(context, object, text, 3 * gap, y, wide, tall, pad, scale);
  });
}

function shortened(context, label, tail, room) {
  if (context.measureText(label + tail).width <= room) return label + tail;
  let fits = 0;
  let tooLong = label.length;
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (context.measureText(`${label.slice(0, middle)}…${tail}`).width <= room) fits = middle;
    else tooLong = middle;
  }
  return fits ? `${label.slice(0, fits)}…${tail}` : tail.trim();
}
