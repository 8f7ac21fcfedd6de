// The live page: what the server tells goes to cards and panels; what a person chooses goes back.

import { Card } from "./cards.js";
import { Connection } from "./connection.js";
import { Letters, tellFaults, tellJob, tellLabels } from "./panels.js";
import { KINDS, kindsOf } from "./shapes.js";
import { Viewer } from "./viewer.js";
import { counted, made, put, timeOf } from "./words.js";

const MANY_CAMERAS = 9;
const CHOICES = "pyspark-vision-live";
const at = (id) => document.getElementById(id);

const tools = at("tools");
const cards = new Map();
const inSight = new Set();
const colors = new Map(); // by label
const off = new Set(); // labels that are not shown
let leastScore = 0;
const kinds = Object.fromEntries(KINDS.map((kind) => [kind, true])); // shapes that are drawn
let clockOffset = 0; // the server's clock minus this one
let isOpen = false;
let asked = "";

const isChosen = (object) => !off.has(object.label) && (object.score ?? 1) >= leastScore;
const serverNow = () => Date.now() + clockOffset;

const letters = new Letters();
const viewer = new Viewer((said) => connection.send(said), isChosen, kinds);
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(Number(target.dataset.camera));
    else inSight.delete(Number(target.dataset.camera));
  }
  askFor();
}, { rootMargin: "200px" });

recall();
const connection = new Connection(draw, (nowOpen) => {
  isOpen = nowOpen;
  asked = "";
  sign("page", nowOpen ? "good" : "bad", nowOpen ? "connected" : "server away");
  if (!nowOpen) return alerts([["The page's server does not answer", "it is tried again and again"]]);
  askFor();
  viewer.again();
  viewer.openLinked();
});

/** Pictures of those cameras only that are to be seen. */
function askFor() {
  const show = document.hidden ? [] : [...inSight].filter((number) => cards.has(number));
  const said = JSON.stringify({ show, view: tools.view.value });
  if (!isOpen || said === asked) return;
  asked = said;
  connection.send(JSON.parse(said));
}

async function draw(told, pictures) {
  clockOffset = told.now - Date.now();
  if (told.state) tell(told.state);
  if (told.letters) letters.show(told.letters);
  if (told.held) viewer.held(told.held);
  const decoded = await Promise.all(pictures.map((picture) => picture && createImageBitmap(picture).catch(() => undefined)));
  await nextPaint();
  (told.frames ?? []).forEach((frame, index) => {
    for (const object of frame.objects ?? []) learn(object);
    const card = cards.get(frame.camera);
    if (card) card.paint(frame, decoded[index], serverNow());
    else decoded[index]?.close();
  });
}

/** The screen's rhythm; a hidden page has none. */
const nextPaint = () => new Promise((go) => (document.hidden ? go() : requestAnimationFrame(go)));

function learn(object) {
  if (!colors.has(object.label) && colors.size < 1000) colors.set(object.label, object.color);
  // A switch is there for what has come.
  for (const kind of kindsOf(object)) tools[kind].parentElement.hidden = false;
}

function tell(state) {
  tellCards(state);
  tellSigns(state);
  tellLabels(state.labels, state.minutes, colors);
  tellMenu(state.labels);
  tellJob(state.job);
  letters.tell(state.letters, state.replay);
  tellFaults(state);
}

function tellCards(state) {
  const wall = at("cameras");
  const known = new Set(state.cameras.map((status) => status.number));
  for (const [number, card] of cards) {
    if (known.has(number)) continue;
    sight.unobserve(card.element);
    inSight.delete(number);
    card.element.remove();
    cards.delete(number);
  }
  state.cameras.forEach((status, index) => {
    let card = cards.get(status.number);
    if (card) {
      if (card.status.silent_since === null && status.silent_since !== null) say(`${status.name} is silent`);
      card.tell(status);
    } else {
      card = new Card(status, (frame) => viewer.open(frame.id), isChosen, kinds);
      card.arrange(tools.view.value === "beside");
      cards.set(status.number, card);
      sight.observe(card.element);
    }
    if (wall.children[index] !== card.element) wall.insertBefore(card.element, wall.children[index] ?? null);
  });
  wall.classList.toggle("one", cards.size === 1);
  wall.classList.toggle("many", cards.size >= MANY_CAMERAS);
  at("empty").hidden = cards.size > 0;
  const [frames, results] = state.kafka.topics;
  put(at("empty-text"), `This page reads ${frames} and ${results} at ${state.kafka.servers}. It shows each camera as soon as it sends.`);
  at("forgotten").hidden = !state.forgotten;
  put(at("forgotten"), `${counted(state.forgotten, "more camera")} sent before; those that sent last are shown.`);
}

function tellSigns(state) {
  const { kafka, results, job } = state;
  const now = [];
  if (kafka.problem) {
    sign("kafka", "bad", kafka.problem === "connecting" ? "connecting" : `away since ${timeOf(kafka.since)}`);
    if (kafka.problem !== "connecting") now.push([`Kafka is away since ${timeOf(kafka.since)}`, kafka.problem]);
  } else if (kafka.missing.length) {
    sign("kafka", "bad", "topic missing");
    now.push([`Topic ${kafka.missing.join(", ")} does not exist`, `at ${kafka.servers}. It is read as soon as it is there`]);
  } else {
    sign("kafka", "good", "connected");
  }
  if (kafka.problem) {
    sign("job", "none", "not known");
  } else if (results) {
    sign("job", "bad", "silent");
    now.push(["No results", results]);
  } else if (job?.problem) {
    sign("job", "bad", "metrics away");
  } else {
    const isBusy = state.cameras.some((status) => status.result_rate > 0);
    sign("job", isBusy ? "good" : "none", isBusy ? "sends results" : "no results now");
  }
  alerts(now);
}

function sign(name, kind, text) {
  const place = at(`sign-${name}`);
  place.className = kind;
  put(place.querySelector("b"), text);
}

function alerts(now) {
  const place = at("alerts");
  const said = now.map((words) => words.join("\n")).join("\n\n");
  if (place.dataset.said === said) return;
  place.dataset.said = said;
  say(now.length ? now.map((words) => words.join(": ")).join(". ") : "All is well again");
  place.replaceChildren(...now.map(([what, more]) => {
    const line = made("p");
    line.append(made("b", "", what), made("span", "", more));
    return line;
  }));
}

function say(text) {
  put(at("said"), text);
}

function tellMenu(labels) {
  const list = at("labels-list");
  const wanted = [...new Set([...labels.rows.map(([label]) => label), ...off])];
  at("labels-none").hidden = wanted.length > 0;
  at("labels-all").hidden = wanted.length === 0;
  const known = new Map([...list.children].map((item) => [item.label, item]));
  for (const label of wanted) {
    if (known.has(label) || known.size >= 100) continue;
    const item = made("li");
    item.label = label;
    const line = item.appendChild(made("label"));
    const box = line.appendChild(made("input"));
    box.type = "checkbox";
    box.checked = !off.has(label);
    box.addEventListener("change", () => choose([label], box.checked));
    line.append(made("span", "", label));
    line.lastElementChild.dir = "auto";
    list.append(item);
    known.set(label, item);
  }
}

function choose(labels, isOn) {
  for (const label of labels) {
    if (isOn) off.delete(label);
    else off.add(label);
  }
  for (const item of at("labels-list").children) item.querySelector("input").checked = !off.has(item.label);
  changed();
}

/** A filter is another one: boxes are drawn again, pictures are not. */
function changed() {
  put(tools["score-shown"], `${Math.round(leastScore * 100)}%`);
  put(at("labels-off"), off.size ? ` (${off.size} off)` : "");
  for (const card of cards.values()) card.refilter();
  viewer.refilter();
  remember();
}

tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("input", () => {
  for (const kind of KINDS) kinds[kind] = tools[kind].checked;
  leastScore = tools.score.value / 100;
  const isBeside = tools.view.value === "beside";
  document.body.classList.toggle("beside", isBeside);
  for (const card of cards.values()) card.arrange(isBeside);
  changed();
  askFor();
});
for (const button of at("labels-all").children) {
  button.addEventListener("click", () => {
    choose([...at("labels-list").children].map((item) => item.label), button.dataset.all === "on");
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && at("labels-menu").open) {
    at("labels-menu").open = false;
    at("labels-menu").firstElementChild.focus();
  }
});
addEventListener("click", (event) => {
  if (!at("labels-menu").contains(event.target)) at("labels-menu").open = false;
});
document.addEventListener("visibilitychange", askFor);
setInterval(() => {
  if (!document.hidden) for (const card of cards.values()) card.tick(serverNow());
}, 250);

/** Choices are this browser's; some give no storage. */
function remember() {
  try {
    const said = { view: tools.view.value, kinds, score: tools.score.value, off: [...off].slice(0, 100) };
    localStorage.setItem(CHOICES, JSON.stringify(said));
  } catch {}
}

function recall() {
  try {
    const said = JSON.parse(localStorage.getItem(CHOICES) ?? "{}");
    if (["top", "beside"].includes(said.view)) tools.view.value = said.view;
    for (const kind of KINDS) tools[kind].checked = kinds[kind] = said.kinds?.[kind] ?? true;
    tools.score.value = said.score ?? 0;
    leastScore = tools.score.value / 100;
    for (const label of said.off ?? []) off.add(String(label));
  } catch {}
  document.body.classList.toggle("beside", tools.view.value === "beside");
  put(tools["score-shown"], `${tools.score.value}%`);
  put(at("labels-off"), off.size ? ` (${off.size} off)` : "");
}
