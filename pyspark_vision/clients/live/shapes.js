// What an object is drawn as: a box, a mask, points, a line of text, or a class of the whole picture.

export const KINDS = ["boxes", "masks", "points", "text", "classes"];

/** The kinds of an object, whatever is switched off. */
export function kindsOf(object) {
  const kinds = [];
  if (object.mask) kinds.push("masks");
  if (object.points) kinds.push("points");
  if (object.corners) kinds.push("text");
  else if (object.box) kinds.push("boxes");
  return kinds.length ? kinds : ["classes"];
}

export const hasPlace = (object) => kindsOf(object)[0] !== "classes";

/** A pose, a hand or a face: lines first, so that points lie on them. */
export function drawPoints(context, width, height, object, line, halo, mostLarge) {
  const points = object.points.map(([x, y]) => [x * width, y * height]);
  context.lineCap = "round";
  for (const [color, wide] of [[halo, line + 3], [object.color, line + 1]]) {
    context.strokeStyle = color;
    context.lineWidth = wide;
    context.beginPath();
    for (const [one, other] of object.lines) {
      context.moveTo(...points[one]);
      context.lineTo(...points[other]);
    }
    context.stroke();
  }
  const radius = line * (points.length <= mostLarge ? 1.5 : 0.5);
  for (const [color, size] of [["#fff", radius + 1], [object.color, radius]]) {
    context.fillStyle = color;
    for (const [x, y] of points) {
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/** The outline of a line of text. */
export function drawCorners(context, width, height, object, line, halo) {
  context.lineJoin = "round";
  for (const [color, wide] of [[halo, line + 2], [object.color, line]]) {
    context.strokeStyle = color;
    context.lineWidth = wide;
    context.beginPath();
    for (const [x, y] of object.corners) context.lineTo(x * width, y * height);
    context.closePath();
    context.stroke();
  }
}

/** xmin, ymin, xmax, ymax around four corners. */
export function boxOf(corners) {
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => Math.min(1, Math.max(0, corner[axis]))));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
