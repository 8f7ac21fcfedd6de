// Numbers and times as a person reads them. Whatever comes from data is set as text, never as HTML.

const counts = new Intl.NumberFormat("en-US");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (number) => counts.format(number);

/** 1 frame, 2 frames */
export const counted = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

/** 14:03:22, with the day where it is not today's. */
export function timeOf(ms) {
  const when = new Date(ms);
  const isToday = when.toDateString() === new Date().toDateString();
  return isToday ? clock.format(when) : `${day.format(when)} ${clock.format(when)}`;
}

/** 0.42 s, 12 s, 3 min 5 s, 2 h 0 min, 4 d 3 h. */
export function duration(ms) {
  const seconds = Math.abs(ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function percent(score) {
  if (score === null) return "–";
  if (score < 0 || score > 1) return score.toPrecision(3);
  const part = score * 100;
  return part > 0 && part < 9.95 ? `${part.toFixed(1)}%` : `${Math.round(part)}%`;
}

export const perSecond = (rate) => (rate >= 9.95 ? rate.toFixed(0) : rate.toFixed(1)) + "/s";

/** `truncated 3, bad_message 1` */
export const byReason = (counted) =>
  Object.entries(counted).filter(([, n]) => n).map(([reason, n]) => `${reason} ${count(n)}`).join(", ");

/** Set text only where it is another, so that nothing is laid out again for nothing. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
