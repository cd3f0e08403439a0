// The map: every row a point, near where the model finds rows alike. 20,000 points are drawn in one frame.

import * as address from "./address.js";
import { get, showPicture } from "./api.js";
import { by, make, several } from "./parts.js";
import { Raster } from "./raster.js";
import { lately } from "./search.js";

const MARGIN = 28; // pixels around the whole map
const REACH = 14; // pixels within which the pointer finds a point
const FEW = 80; // so many points in view, and no more, are drawn as their pictures
const SIDE = 48; // pixels of such a picture
const KEPT = 400; // pictures held for drawing
const COLOURS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];

const raster = new Raster(by("points"));
const canvas = by("canvas"); // above the points: pictures and rings
const context = canvas.getContext("2d");

let about;
let loading = null; // a promise: the points come once, however often the view is opened meanwhile
let points; // {x, y, id, modality: places in names, names}
let shown = []; // by place in names: drawn or not
let view = null; // {scale: pixels a unit, x, y: what is in the middle}
let least = 1; // the scale of the whole map
let size = { width: 0, height: 0 };
let dense = 1; // pixels of the screen a CSS pixel
let chosen = -1;
let found = []; // places of the points that were found last
let colours = {};
let waiting = 0; // the frame that will be painted
let stale = true; // the points themselves are to be painted, not the rings alone
let inView = []; // places of pictures
let pictures = false; // points are drawn as their pictures
let around = 0; // pixels from the middle of a point to its edge
const loaded = new Map(); // id → picture

export function prepare(said) {
  about = said;
}

/** Load the points once, then draw. */
export async function show() {
  await (loading ??= load());
  if (by("map").hidden) return; // left meanwhile: what is not shown has no size
  found = [...points.id.keys()].filter((place) => lately.rows.has(`${points.names[points.modality[place]]} ${points.id[place]}`));
  showKey();
  measure();
  if (view === null) whole();
  draw();
}

async function load() {
  try {
    points = read(await get("/v1/map"));
  } catch (error) {
    loading = null;
    throw error;
  }
  shown = points.names.map(() => true);
  by("map-lead").textContent = `Each of the ${several(points.x.length, "point")} is a row of the data; near points are alike to the model.`;
  listen();
}

/** Read the server's columns into typed arrays. */
const read = ({ x, y, id, modality, modalities }) => ({
  x: Float32Array.from(x),
  y: Float32Array.from(y),
  id,
  modality: Uint8Array.from(modality),
  names: modalities,
});

function showKey() {
  const kinds = points.names.map((name, place) => {
    const box = make("input", { type: "checkbox", checked: shown[place], onchange: () => ((shown[place] = box.checked), choose(-1), draw()) });
    return make("li", { class: `arm-${place % COLOURS.length}` }, make("label", {}, box, make("span", { class: "arm" }, about.kinds[name]?.many ?? name)));
  });
  const last = make("li", { class: "found" }, `Found last: ${lately.asked}`);
  by("map-key").replaceChildren(...(kinds.length > 1 ? kinds : []), ...(found.length ? [last] : []));
}

function measure() {
  const box = by("map-frame").getBoundingClientRect();
  dense = Math.min(2, devicePixelRatio || 1);
  size = { width: box.width, height: box.height };
  canvas.width = Math.round(size.width * dense);
  canvas.height = Math.round(size.height * dense);
  context.setTransform(dense, 0, 0, dense, 0, 0);
  raster.resize(canvas.width, canvas.height);
  const style = getComputedStyle(canvas);
  colours = Object.fromEntries([...COLOURS, "--ink", "--page", "--panel", "--line", "--found"].map((name) => [name, plain(style.getPropertyValue(name))]));
}

/** A colour as #rrggbb. */
function plain(colour) {
  context.fillStyle = colour;
  return context.fillStyle;
}

const isImage = (name) => about.kinds[name]?.modality === "image";
const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

function whole() {
  const [left, right] = extent(points.x);
  const [low, high] = extent(points.y);
  least = Math.min((size.width - 2 * MARGIN) / (right - left || 1), (size.height - 2 * MARGIN) / (high - low || 1));
  view = { scale: least, x: (left + right) / 2, y: (low + high) / 2 };
}

const across = (place) => (points.x[place] - view.x) * view.scale + size.width / 2;
const down = (place) => (view.y - points.y[place]) * view.scale + size.height / 2;

/** Paint points, pictures and rings with the next frame, once, however often it is asked for. */
function draw() {
  stale = true;
  drawRings();
}

/** Paint pictures and rings alone: what changes under the pointer. */
function drawRings() {
  waiting ||= requestAnimationFrame(paint);
}

function paint() {
  waiting = 0;
  if (stale) paintPoints();
  stale = false;
  paintRings();
}

function paintPoints() {
  const radius = Math.min(6, 1.6 * Math.sqrt(view.scale / least) * (points.x.length < 2000 ? 1.6 : 1));
  const discs = points.names.map((_, name) => shown[name] && raster.discs(radius * dense, colours[COLOURS[name % COLOURS.length]], 0.75));
  const pictured = points.names.map(isImage);
  raster.clear(colours["--panel"]);
  inView = [];
  for (let place = 0; place < points.x.length; place++) {
    const disc = discs[points.modality[place]];
    if (!disc) continue;
    const left = across(place);
    const top = down(place);
    if (left < -radius || top < -radius || left > size.width + radius || top > size.height + radius) continue;
    disc(left * dense, top * dense);
    if (pictured[points.modality[place]]) inView.push(place);
  }
  raster.show();
  pictures = about.pictures && inView.length <= FEW;
  around = pictures ? SIDE / 2 : radius;
}

function paintRings() {
  context.clearRect(0, 0, size.width, size.height);
  if (pictures) inView.forEach(drawPicture);
  for (const place of found) if (shown[points.modality[place]]) above(place, 2, colours["--found"]);
  if (chosen >= 0) above(chosen, 3, colours["--ink"]);
}

/** Paint a point above the others, with a ring. */
function above(place, wider, colour) {
  const pictured = pictures && isImage(points.names[points.modality[place]]);
  if (pictured) drawPicture(place);
  ring(across(place), down(place), (pictured ? around : Math.min(around, 6)) + wider, colour, pictured ? 8 : Infinity);
}

function drawPicture(place) {
  const id = points.id[place];
  let image = loaded.get(id);
  if (!image) {
    image = new Image();
    image.addEventListener("load", drawRings);
    showPicture(image, `/v1/items/${id}/picture`);
    loaded.set(id, image);
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
  }
  if (!image.complete || !image.naturalWidth) return;
  const [left, top] = [across(place) - SIDE / 2, down(place) - SIDE / 2];
  const scale = (SIDE - 6) / Math.max(image.naturalWidth, image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  context.fillStyle = "#fff";
  context.strokeStyle = colours["--line"];
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(left, top, SIDE, SIDE, 6);
  context.fill();
  context.stroke();
  context.drawImage(image, left + (SIDE - width) / 2, top + (SIDE - height) / 2, width, height);
}

function ring(left, top, radius, colour, corner) {
  for (const [stroke, width] of [[colours["--page"], 5], [colour, 2.5]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.roundRect(left - radius, top - radius, 2 * radius, 2 * radius, Math.min(radius, corner));
    context.stroke();
  }
}

/** Find the shown point nearest to a place on the canvas, within a distance. */
function nearest(left, top, reach) {
  let best = -1;
  let least = reach * reach;
  for (let place = 0; place < points.x.length; place++) {
    if (!shown[points.modality[place]]) continue;
    const a = across(place) - left;
    const b = down(place) - top;
    const distance = a * a + b * b;
    if (distance <= least) [best, least] = [place, distance];
  }
  return best;
}

/** Find the shown point to go to by an arrow: near, and more ahead than aside. */
function ahead(key) {
  if (chosen < 0) return nearest(size.width / 2, size.height / 2, Infinity);
  const [right, below] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
  const [left, top] = [across(chosen), down(chosen)];
  let best = chosen;
  let least = Infinity;
  for (let place = 0; place < points.x.length; place++) {
    if (!shown[points.modality[place]]) continue;
    const a = across(place) - left;
    const b = down(place) - top;
    const forward = a * right + b * below;
    const aside = Math.abs(a * below + b * right);
    if (forward > 0.5 && aside <= forward && forward + aside < least) [best, least] = [place, forward + aside];
  }
  return best;
}

const seen = new Map(); // id → row, of those that the pointer has been at
let asking = 0;

/** Choose a point: ring it and show its row beside it. `held` keeps its card open for a click, after a tap or a key. */
async function choose(place, held = false) {
  if (place === chosen && !held) return;
  chosen = place;
  drawRings();
  const card = by("under");
  card.hidden = true;
  const mine = ++asking; // what was asked for before is no more to be shown
  if (place < 0) return;
  const id = points.id[place];
  if (!seen.has(id)) {
    await new Promise((resolve) => setTimeout(resolve, 40)); // a pointer that only passes asks for nothing
    if (mine !== asking) return;
    seen.set(id, await get(`/v1/items/${id}`).catch(() => ({})));
    if (mine !== asking) return;
  }
  const { text, picture, key } = seen.get(id);
  const image = picture ? make("img", { alt: "", draggable: "false" }) : null;
  if (image) showPicture(image, picture);
  card.replaceChildren(...[image, make("span", {}, text || String(key ?? id))].filter(Boolean));
  card.href = likeThis();
  card.classList.toggle("held", held);
  card.hidden = false;
  beside(card);
  if (held) by("map-said").textContent = `${text || key || id}, ${points.names[points.modality[place]]}. Enter finds more like this.`;
}

/** Put the card beside its point, within the map. */
function beside(card) {
  const [left, top] = [across(chosen), down(chosen)];
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const off = around + 12;
  const right = left + off + width <= size.width ? left + off : left - off - width;
  card.style.left = `${Math.max(4, Math.min(size.width - width - 4, right))}px`;
  card.style.top = `${Math.max(4, Math.min(size.height - height - 4, top - height / 2))}px`;
}

/** The address of what is like the chosen point. */
function likeThis() {
  const modality = points.names[points.modality[chosen]];
  const usual = Object.keys(about.modalities).find(isImage);
  return address.write("search", { like: points.id[chosen], modality: modality === usual ? "" : modality });
}

function open() {
  if (chosen >= 0) location.hash = likeThis();
}

/** Zoom by a factor and keep a place of the canvas where it is. */
function zoom(factor, left = size.width / 2, top = size.height / 2) {
  const most = least * Math.max(8, 2 * Math.sqrt(points.x.length)); // there is nothing to see between points far apart
  const scale = Math.max(least * 0.8, Math.min(most, view.scale * factor));
  const grown = 1 / view.scale - 1 / scale;
  view = { scale, x: view.x + (left - size.width / 2) * grown, y: view.y - (top - size.height / 2) * grown };
  follow();
}

function follow() {
  draw();
  if (!by("under").hidden) beside(by("under"));
}

function pan(right, below) {
  view = { ...view, x: view.x - right / view.scale, y: view.y + below / view.scale };
  follow();
}

/** Bring the chosen point into the map where it lies outside. */
function reveal() {
  const [left, top] = [across(chosen), down(chosen)];
  const [right, below] = [Math.min(size.width - 40, Math.max(40, left)), Math.min(size.height - 40, Math.max(40, top))];
  if (right !== left || below !== top) pan(right - left, below - top);
}

function listen() {
  const fingers = new Map();
  let moved = 0;
  const reach = () => (pictures ? SIDE / 2 : REACH);
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [left, top] = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      const under = nearest(left, top, reach());
      canvas.classList.toggle("over", under >= 0);
      return choose(under);
    }
    fingers.set(event.pointerId, [left, top]);
    moved += Math.hypot(left - before[0], top - before[1]);
    if (fingers.size === 1) {
      if (moved > 4) pan(left - before[0], top - before[1]);
      return;
    }
    const other = [...fingers].find(([finger]) => finger !== event.pointerId)[1];
    const apart = (from) => Math.hypot(from[0] - other[0], from[1] - other[1]);
    zoom(apart([left, top]) / (apart(before) || 1), (left + other[0]) / 2, (top + other[1]) / 2);
  });
  const lift = (event) => {
    const alone = fingers.delete(event.pointerId) && fingers.size === 0;
    if (!alone || moved > 4 || event.type === "pointercancel") return;
    const under = nearest(...place(event), event.pointerType === "mouse" ? reach() : 2 * reach());
    if (event.pointerType === "mouse") {
      chosen = under;
      open();
    } else choose(under, true);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && !by("under").classList.contains("held")) choose(-1);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
      choose(nearest(...place(event), reach()));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = { Enter: open, "+": () => zoom(1.5, ...middle()), "=": () => zoom(1.5, ...middle()), "-": () => zoom(1 / 1.5, ...middle()), 0: all, Escape: () => choose(-1) };
    const act = event.key.startsWith("Arrow") ? () => (choose(ahead(event.key), true), reveal()) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  const middle = () => (chosen < 0 ? [] : [across(chosen), down(chosen)]);
  const all = () => {
    whole();
    follow();
  };
  by("nearer").addEventListener("click", () => zoom(1.5));
  by("farther").addEventListener("click", () => zoom(1 / 1.5));
  by("whole").addEventListener("click", all);
  new ResizeObserver(() => {
    if (by("map").hidden) return;
    measure();
    stale = true;
    paint(); // in this frame: measured anew, the canvas is empty
  }).observe(by("map-frame"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    measure();
    draw();
  });
}
