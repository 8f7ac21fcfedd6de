// Pictures and boxes on two canvases, one over the other: boxes are drawn at the screen's own
// pixels, so they are sharp at any size, and without the picture when a filter changes.

import { percent } from "./words.js";

const LINE_PX = 2;
const HALO = "rgb(0 0 0 / .55)";
const FONT_PX = 12;
const PLATE_PX = 18;
const MOST_PLATES = 60;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

export class Picture {
  /** element: a .frame with both canvases in it. */
  constructor(element) {
    this.element = element;
    [this.picture, this.boxes] = element.querySelectorAll("canvas");
    this.objects = [];
    this.isShown = () => true;
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
    drawBoxes(context, width, height, this.objects.filter(this.isShown), devicePixelRatio || 1);
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

  /** The picture at its own size with its boxes, as a PNG. */
  async saved() {
    const { width, height } = this.picture;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    drawBoxes(context, width, height, this.objects.filter(this.isShown), Math.max(1, width / 800));
    return canvas.convertToBlob({ type: "image/png" });
  }
}

/** The best last, so that it lies on top; plates over all lines. */
export function drawBoxes(context, width, height, objects, scale) {
  const line = Math.max(1, Math.round(LINE_PX * scale));
  const halo = Math.max(1, Math.round(scale));
  const boxed = objects
    .filter((object) => object.box)
    .sort((a, b) => (a.score ?? 0) - (b.score ?? 0))
    .map((object) => ({ object, edges: pixels(object.box, width, height) }));
  for (const { object, edges } of boxed) {
    const [left, top, right, bottom] = edges;
    outline(context, left - halo, top - halo, right + halo, bottom + halo, line + 2 * halo, HALO);
    outline(context, left, top, right, bottom, line, object.color);
  }
  context.font = `600 ${Math.round(FONT_PX * scale)}px ${FONT}`;
  context.textBaseline = "middle";
  const placed = [];
  for (const { object, edges } of boxed.slice(-MOST_PLATES).reverse()) {
    drawPlate(context, width, height, object, edges, scale, placed);
  }
}

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

function drawPlate(context, width, height, object, [left, top, right, bottom], scale, placed) {
  const pad = Math.round(5 * scale);
  const tall = Math.round(PLATE_PX * scale);
  const line = Math.round(LINE_PX * scale);
  const room = Math.min(width, Math.max(right - left, width / 2, 90 * scale)) - 2 * pad;
  const text = shortened(context, object.label, ` ${percent(object.score)}`, room);
  const wide = Math.min(width, Math.ceil(context.measureText(text).width) + 2 * pad);
  if (tall * 2 > height) return; // it would hide the picture
  const x = Math.max(0, Math.min(left, width - wide));
  const tries = [top - tall, top + line, bottom, bottom - line - tall];
  const isFree = (y) =>
    y >= 0 && y + tall <= height &&
    !placed.some((other) => x < other.x + other.wide && other.x < x + wide && y < other.y + tall && other.y < y + tall);
  const y = tries.find(isFree) ?? Math.max(0, Math.min(top - tall, height - tall));
  placed.push({ x, y, wide });
  context.fillStyle = object.color;
  context.fillRect(x, y, wide, tall);
  context.fillStyle = object.ink;
  context.fillText(text, x + pad, y + tall / 2 + scale / 2);
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
