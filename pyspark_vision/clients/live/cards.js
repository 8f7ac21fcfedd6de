// One card a camera: its picture or two, and its numbers.

import { Picture } from "./drawing.js";
import { hasPlace } from "./shapes.js";
import { byReason, count, counted, duration, made, median, percent, perSecond, put, timeOf } from "./words.js";

const LATENCIES = 40;
const SHOWN_OBJECTS = 8;
const FRESH_MS = 2000;
// So much no network takes: a clock or its time zone is off.
const CLOCK_OFF_MS = 600_000;

export class Card {
  /** hold(frame): somebody wants to look longer; isChosen(object): drawn and listed; kinds: of shapes
   * that are drawn. */
  constructor(status, hold, isChosen, kinds) {
    this.number = status.number;
    this.hold = hold;
    this.isChosen = isChosen;
    this.kinds = kinds;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.element.dataset.camera = status.number;
    this.heading = this.element.querySelector("h3");
    this.heading.id = `camera-${status.number}`;
    this.element.setAttribute("aria-labelledby", this.heading.id);
    this.stages = this.element.querySelector(".stages");
    this.places = new Map();
    this.latencies = [];
    this.frame = null;
    this.arrange(false);
    this.tell(status);
  }

  arrange(isBeside) {
    const wanted = isBeside ? ["input", "result"] : ["result"];
    for (const [place, { stage, picture }] of this.places) {
      if (wanted.includes(place)) continue;
      picture.sizes.disconnect();
      stage.remove();
      this.places.delete(place);
    }
    for (const place of wanted) {
      if (this.places.has(place)) continue;
      const stage = document.getElementById("stage").content.firstElementChild.cloneNode(true);
      const shown = { stage, picture: new Picture(stage.querySelector(".frame"), this.isChosen, this.kinds), frame: null };
      stage.dataset.place = place;
      stage.addEventListener("click", () => shown.frame && this.hold(shown.frame));
      this.places.set(place, shown);
    }
    // In the order in which they stand.
    this.stages.append(...wanted.map((place) => this.places.get(place).stage));
    this.name(this.heading.textContent);
  }

  name(name) {
    put(this.heading, name);
    for (const [place, { stage }] of this.places) {
      stage.setAttribute("aria-label", `Hold the ${place === "input" ? "input" : "picture"} of ${name}`);
    }
  }

  /** bitmap: undefined where the picture cannot be decoded. */
  paint(frame, bitmap, serverNow) {
    const shown = this.places.get(frame.place);
    if (!shown) {
      bitmap?.close();
      return;
    }
    shown.frame = frame;
    const isInput = frame.place === "input";
    const objects = isInput || frame.is_drawn ? [] : frame.objects ?? [];
    shown.picture.show(bitmap ?? null, objects);
    put(shown.stage.querySelector(".stage-note"), note(frame, bitmap));
    shown.stage.querySelector(".stage-note").hidden = !note(frame, bitmap);
    if (isInput) return;
    this.frame = frame;
    // What was there before the page was opened says nothing of the way to it.
    if (frame.objects && frame.taken !== null && serverNow - frame.changed < FRESH_MS) {
      this.latencies.push(serverNow - frame.taken);
      if (this.latencies.length > LATENCIES) this.latencies.shift();
    }
  }

  tellFound() {
    const objects = (this.frame?.objects ?? []).filter(this.isChosen);
    const signature = this.frame?.objects ? objects.map((o) => `${o.label} ${percent(o.score)}`).join("\n") : "-";
    if (signature === this.found) return;
    this.found = signature;
    const items = objects.slice(0, SHOWN_OBJECTS).map((object) => {
      const item = made("li", "", `${object.label} ${percent(object.score)}`);
      item.style.setProperty("--c", object.color);
      item.style.setProperty("--t", object.ink);
      item.dir = "auto";
      return item;
    });
    const more = objects.length - items.length;
    if (more > 0) items.push(made("li", "plain", `and ${more} more`));
    if (!items.length) items.push(made("li", "plain", this.frame?.objects ? "Nothing found" : "No result"));
    this.element.querySelector(".found").replaceChildren(...items);
  }

  refilter() {
    for (const { picture } of this.places.values()) picture.redraw();
    this.tellFound();
  }

  tell(status) {
    this.status = status;
    this.name(status.name);
    const isSilent = status.silent_since !== null;
    this.element.classList.toggle("silent", isSilent);
    this.element.classList.toggle("live", !isSilent);
    put(this.element.querySelector(".state b"), isSilent ? `silent since ${timeOf(status.silent_since)}` : "live");
    put(this.figure("rate"), perSecond(isSilent ? 0 : status.rate));
    put(this.figure("results"), perSecond(isSilent ? 0 : status.result_rate));
    const tally = [counted(status.frames, "frame"), counted(status.results, "result")];
    if (status.waiting) tally.push(`${count(status.waiting)} without a result yet`);
    if (status.passed_over) tally.push(`${count(status.passed_over)} left out by the job`);
    put(this.element.querySelector(".tally"), tally.join(" · "));
    const failures = this.element.querySelector("[data-failed]");
    put(failures, `failed: ${byReason(status.failed)}`);
    failures.hidden = !byReason(status.failed);
  }

  /** Each moment: what grows by itself, and what nobody could read if it changed with each frame. */
  tick(serverNow) {
    this.tellFound();
    const taken = this.frame?.taken ?? null;
    const latency = this.latencies.length ? median(this.latencies) : null;
    const off = latency !== null && (latency < -1000 || latency > CLOCK_OFF_MS) ? latency : null;
    put(this.figure("age"), taken === null ? "–" : duration(Math.max(0, serverNow - taken)));
    put(this.figure("latency"), latency === null || off !== null ? "–" : duration(latency));
    const clock = this.element.querySelector("[data-clock]");
    clock.hidden = off === null;
    if (off !== null) {
      put(clock, `Its clock or time zone is ${duration(off)} ${off < 0 ? "ahead of" : "behind"} this machine's`);
    }
  }

  figure(name) {
    return this.element.querySelector(`[data-figure="${name}"]`);
  }
}

function note(frame, bitmap) {
  if (frame.failure) return `failed: ${frame.failure[0]}`;
  if (frame.has_picture && !bitmap) return "The browser cannot decode this picture";
  if (!frame.has_picture) return frame.objects ? "Result without a picture" : "No picture";
  if (frame.is_drawn && frame.objects?.some((object) => !hasPlace(object))) return "boxes as the job drew them";
  if (frame.place === "result" && !frame.objects) return "input, no result lately";
  return "";
}
