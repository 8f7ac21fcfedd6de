// Beside the cameras: totals by label, the job's numbers, dead letters.

import { byReason, count, counted, duration, made, perSecond, put, timeOf } from "./words.js";

const SHOWN_LABELS = 12;
const at = (id) => document.getElementById(id);

/** colors: of labels, as they were last seen; what the labels bring is added. */
export function tellLabels(labels, minutes, colors) {
  put(at("labels-minutes"), String(minutes));
  const rows = labels.rows.slice(0, SHOWN_LABELS);
  at("labels-empty").hidden = rows.length > 0;
  at("labels-table").hidden = rows.length === 0;
  const body = at("labels-table").tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach(([label, n, color], index) => {
    if (color && colors.size < 1000) colors.set(label, color);
    const row = body.rows[index] ?? body.appendChild(emptyRow());
    const [dot, name] = row.cells[0].children;
    put(name, label);
    dot.style.setProperty("--c", colors.get(label) ?? "var(--bar)");
    const meter = row.cells[1].firstElementChild;
    meter.style.setProperty("--c", colors.get(label) ?? "var(--bar)");
    meter.style.width = `${(100 * n) / rows[0][1]}%`;
    put(row.cells[2], count(n));
  });
}

function emptyRow() {
  const row = made("tr");
  const head = row.appendChild(made("th"));
  head.scope = "row";
  head.dir = "auto";
  head.append(made("i", "dot"), made("span"));
  row.appendChild(made("td")).append(made("i", "meter"));
  row.append(made("td", "n"));
  return row;
}

export function tellJob(job) {
  at("job-panel").hidden = !job;
  if (!job) return;
  put(at("job-heading"), job.name ? `Job ${job.name}` : "Job");
  at("job-problem").hidden = !job.problem;
  put(at("job-problem"), job.problem ? `${job.url} does not answer since ${timeOf(job.since)}: ${job.problem}` : "");
  const v = job.values;
  const lines = [
    ["Rows in", v.rows_total, count],
    ["With objects", v.rows_with_result_total, count],
    ["In", v.input_rows_per_second, perSecond],
    ["Worked on", v.processed_rows_per_second, perSecond],
    ["Age of results, p50", v.result_age_p50_seconds, seconds],
    ["p95", v.result_age_p95_seconds, seconds],
    ["Last batch", v.batch_seconds, seconds],
    ["Its rows", v.batch_rows, count],
    ["Backlog", v.backlog_rows, count],
    ["Catches up in", v.catch_up_seconds || undefined, seconds],
  ].filter(([, value]) => value !== undefined);
  const shown = lines.map(([name, value, how]) => [name, how(value), ""]);
  if (byReason(job.failed)) shown.push(["Failed", byReason(job.failed), "wide"]);
  if (byReason(job.dropped)) shown.push(["Dropped", byReason(job.dropped), "wide"]);
  if (!shown.length && !job.problem) shown.push(["", "No batch is done yet", "wide"]);
  const list = at("job-numbers");
  while (list.children.length > shown.length) list.lastElementChild.remove();
  shown.forEach(([name, text, kind], index) => {
    if (!list.children[index]) list.append(made("div")), list.children[index].append(made("dt"), made("dd"));
    const place = list.children[index];
    place.className = kind;
    put(place.children[0], name);
    put(place.children[1], text);
  });
}

const seconds = (value) => duration(value * 1000);

export class Letters {
  constructor() {
    this.sure = at("put-back-sure");
    at("put-back").addEventListener("click", () => this.ask(true));
    at("put-back-no").addEventListener("click", () => this.ask(false));
    at("put-back-yes").addEventListener("click", () => this.putBack());
  }

  ask(isAsked) {
    this.sure.hidden = !isAsked;
    (isAsked ? at("put-back-yes") : at("put-back")).focus();
  }

  async putBack() {
    this.ask(false);
    this.failure = "";
    try {
      const answer = await fetch("/replay", { method: "POST" });
      if (!answer.ok) this.failure = `It was not started: ${(await answer.text()).slice(0, 200)}`;
    } catch {
      this.failure = "It was not started: the page's server does not answer";
    }
    put(at("put-back-note"), this.failure || "starting");
  }

  tell(letters, replay) {
    at("letters-panel").hidden = !letters;
    if (!letters) return;
    put(at("letters-total"), letters.total ? `${count(letters.total)} in ${letters.topic}` : `none in ${letters.topic}`);
    const isRunning = replay.started !== null && replay.ended === null;
    at("put-back").disabled = isRunning || replay.refusal !== null || letters.total === 0;
    put(at("put-back-note"), this.failure || this.outcome(replay, isRunning));
    at("put-back-note").classList.toggle("bad-text", Boolean(this.failure || replay.exit_code));
    const lines = at("put-back-lines");
    lines.hidden = !replay.lines.length;
    put(lines.querySelector("pre"), replay.lines.join("\n"));
    this.backBefore = replay.exit_code === 0 ? replay.started : this.backBefore;
    this.mark();
  }

  outcome(replay, isRunning) {
    if (replay.refusal) return replay.refusal;
    if (replay.started === null) return "";
    if (isRunning) return `putting back since ${timeOf(replay.started)}, which takes Spark some seconds`;
    const said = replay.lines.filter((line) => line.startsWith("replay: "));
    if (replay.exit_code === 0) return `${timeOf(replay.ended)}: ${said.join(". ").replaceAll("replay: ", "") || "done"}`;
    return `${timeOf(replay.ended)}: it failed: ${replay.lines.at(-1) ?? `exit code ${replay.exit_code}`}`;
  }

  show(letters) {
    at("letters").replaceChildren(...letters.map((letter) => this.item(letter)));
    this.mark();
  }

  item(letter) {
    const item = made("li");
    item.dataset.at = letter.at;
    if (letter.has_picture) {
      const image = made("img", "thumb");
      image.loading = "lazy";
      image.alt = "What came in";
      image.src = `/letters/${letter.number}/picture`;
      // Cut off and undecodable ones are letters for that.
      image.onerror = () => image.replaceWith(made("span", "thumb", "not decodable"));
      item.append(image);
    } else {
      item.append(made("span", "thumb", letter.left_out_bytes ? "left out" : "no picture"));
    }
    const text = made("div");
    const head = text.appendChild(made("p"));
    head.append(made("code", "", letter.code), made("span", "soft", ` ${timeOf(letter.at)} `), made("span", "back"));
    if (letter.message) text.append(made("p", "", letter.message));
    const from = [letter.name, letter.timestamp, letter.origin].filter(Boolean).join(" · ");
    const size = letter.left_out_bytes ? `, ${counted(letter.left_out_bytes, "byte")} left out` : `, ${counted(letter.payload_bytes, "byte")}`;
    text.append(made("p", "soft", from + size));
    for (const line of text.children) line.dir = "auto";
    item.append(text);
    return item;
  }

  /** Letters from before the last replay are back where they came from. */
  mark() {
    if (!this.backBefore) return;
    for (const item of at("letters").children) {
      if (Number(item.dataset.at) <= this.backBefore) put(item.querySelector(".back"), "put back");
    }
  }
}

export function tellFaults(state) {
  const faults = [];
  for (const [topic, n, reason] of state.kafka.unreadable) {
    faults.push(`${counted(n, "message")} of ${topic} cannot be read; the last: ${reason}`);
  }
  if (state.kafka.skipped) faults.push(`${counted(state.kafka.skipped, "record")} skipped to catch up`);
  if (byReason(state.failed_elsewhere)) faults.push(`failed, camera unknown: ${byReason(state.failed_elsewhere)}`);
  at("faults-panel").hidden = !faults.length;
  const list = at("faults");
  while (list.children.length > faults.length) list.lastElementChild.remove();
  faults.forEach((fault, index) => put(list.children[index] ?? list.appendChild(made("li")), fault));
}
