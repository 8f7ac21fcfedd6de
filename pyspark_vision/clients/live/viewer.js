// A picture that is held: steps through the camera's last frames, a link, a download.

import { Picture } from "./drawing.js";
import { made, percent, put, timeOf } from "./words.js";

const at = (id) => document.getElementById(id);
const GONE = "This frame is gone: the last 100 of each camera are kept in memory, and those that were linked.";

export class Viewer {
  /** say(told) goes to the server, which keeps what is held; the rest as of a card. */
  constructor(say, isChosen, kinds) {
    this.say = say;
    this.dialog = at("viewer");
    this.picture = new Picture(this.dialog.querySelector(".frame"), isChosen, kinds);
    this.isChosen = isChosen;
    this.frames = [];
    this.index = 0;
    at("viewer-close").addEventListener("click", () => this.dialog.close());
    at("viewer-back").addEventListener("click", () => this.step(-1));
    at("viewer-on").addEventListener("click", () => this.step(1));
    at("viewer-first").addEventListener("click", () => this.go(0));
    at("viewer-last").addEventListener("click", () => this.go(this.frames.length - 1));
    at("viewer-link").addEventListener("click", () => this.link());
    at("viewer-save").addEventListener("click", () => this.save());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => this.closed());
    addEventListener("hashchange", () => this.openLinked());
  }

  get isOpen() {
    return this.dialog.open;
  }

  openLinked() {
    const linked = new URLSearchParams(location.hash.slice(1)).get("frame");
    if (linked && linked !== this.frame?.id) this.open(linked);
  }

  open(id) {
    this.asked = id;
    this.frames = [];
    if (!this.dialog.open) this.dialog.showModal();
    this.say({ hold: id });
  }

  /** After the connection was lost the server holds nothing any more. */
  again() {
    if (this.dialog.open && this.frame) this.say({ hold: this.frame.id });
    else if (this.dialog.open && this.asked) this.say({ hold: this.asked });
  }

  held({ id, frames }) {
    if (!this.dialog.open) return;
    if (!frames.length && this.frames.length) return; // what is on the screen stays
    this.frames = frames;
    if (!frames.length) return this.gone();
    this.go(Math.max(0, frames.findIndex((frame) => frame.id === id)));
  }

  gone() {
    put(at("viewer-name"), "Not here any more");
    put(at("viewer-when"), "");
    this.note(GONE);
    this.picture.show(null, []);
    this.tellButtons();
    put(at("viewer-said"), GONE);
  }

  get frame() {
    return this.frames[this.index];
  }

  step(by) {
    this.go(this.index + by);
  }

  async go(index) {
    if (!this.frames.length) return;
    this.index = Math.max(0, Math.min(this.frames.length - 1, index));
    const frame = this.frame;
    history.replaceState(null, "", `#frame=${frame.id}`);
    put(at("viewer-name"), frame.name);
    put(at("viewer-when"), frame.taken === null ? frame.timestamp : `${timeOf(frame.taken)} · ${frame.timestamp}`);
    this.tellButtons();
    this.tellObjects(frame);
    const bitmap = await this.load(frame);
    if (frame !== this.frame) {
      bitmap?.close();
      return;
    }
    const isGone = frame.has_picture && !bitmap;
    this.note(!frame.has_picture ? "No picture of this frame came" : isGone ? "This picture is gone or cannot be decoded" : "");
    this.picture.show(bitmap, frame.is_drawn ? [] : frame.objects ?? []);
    put(at("viewer-said"), `${at("viewer-place").textContent}, ${this.words(frame)}`);
  }

  async load(frame) {
    if (!frame.has_picture) return null;
    try {
      const answer = await fetch(`/frames/${frame.id}/picture`);
      return answer.ok ? await createImageBitmap(await answer.blob()) : null;
    } catch {
      return null;
    }
  }

  tellButtons() {
    const last = this.frames.length - 1;
    at("viewer-back").disabled = at("viewer-first").disabled = last < 0 || this.index === 0;
    at("viewer-on").disabled = at("viewer-last").disabled = last < 0 || this.index === last;
    at("viewer-link").disabled = at("viewer-save").disabled = last < 0;
    put(at("viewer-link"), "Copy link");
    put(at("viewer-place"), last < 0 ? "–" : `${this.index + 1} of ${last + 1}`);
  }

  tellObjects(frame) {
    const objects = frame.objects ?? [];
    at("viewer-items").replaceChildren(...objects.map((object) => {
      const item = made("li", this.isChosen(object) ? "" : "off");
      const chip = item.appendChild(made("i", "chip"));
      chip.style.setProperty("--c", object.color);
      item.append(made("span", "label", object.label), made("span", "", percent(object.score)));
      item.children[1].dir = "auto";
      return item;
    }));
    const nothing = at("viewer-nothing");
    nothing.hidden = objects.length > 0;
    put(nothing, frame.objects ? "Nothing found" : "No result came for this frame");
    const failure = at("viewer-failure");
    failure.hidden = !frame.failure;
    put(failure, frame.failure ? frame.failure.join(": ") : "");
  }

  words(frame) {
    if (!frame.objects) return "no result";
    const found = frame.objects.filter(this.isChosen).map((object) => `${object.label} ${percent(object.score)}`);
    return found.length ? found.join(", ") : "nothing found";
  }

  refilter() {
    this.picture.redraw();
    if (this.frame) this.tellObjects(this.frame);
  }

  note(text) {
    at("viewer-note").hidden = !text;
    put(at("viewer-note"), text);
  }

  async link() {
    const frame = this.frame;
    this.say({ keep: frame.id });
    try {
      await navigator.clipboard.writeText(`${location.origin}/#frame=${frame.id}`);
      put(at("viewer-link"), "Link copied");
    } catch {
      put(at("viewer-link"), "It is in the address bar");
    }
  }

  async save() {
    const url = URL.createObjectURL(await this.picture.saved());
    const link = made("a");
    link.href = url;
    link.download = `${this.frame.name}_${this.frame.timestamp}`.replace(/[^\p{L}\p{N}.-]+/gu, "_").slice(0, 120) + ".png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.step(steps[event.key]);
  }

  closed() {
    this.say({ hold: null });
    this.frames = [];
    this.asked = null;
    this.note("");
    this.picture.show(null, []);
    history.replaceState(null, "", location.pathname);
  }
}
