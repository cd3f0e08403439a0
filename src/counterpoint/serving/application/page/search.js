// The search: words, a picture or a row of the data; one model or two side by side.

import * as address from "./address.js";
import { get, giveSound, post, showPicture } from "./api.js";
import { showCode } from "./code.js";
import { by, make, score, several } from "./parts.js";
import { choose, givePicturesTo, heldPicture, preview } from "./picture.js";
import { labelling, modelNames } from "./served.js";

const COUNT = 12;

/** The rows that were found last, as the map shows them, and what was asked for. */
export const lately = { asked: "", rows: new Set() };

let about;
let running = new AbortController();

/** Set the form up, once, from what the server says about itself. */
export function prepare(said) {
  about = said;
  const names = Object.keys(about.modalities);
  by("modality").replaceChildren(
    ...names.map((value) => make("option", { value }, about.kinds[value].many)),
    make("option", { value: "all" }, "everything"),
  );
  by("of-label").hidden = names.length < 2;
  const { takes } = about.indexes[0];
  by("search-pick").hidden = !takes.includes("image");
  by("query").disabled = !takes.includes("text");
  by("query").placeholder = by("query").disabled
    ? "This model reads no words: paste or drop a picture"
    : isImage(usual())
      ? "Type what the picture shows"
      : isText(usual())
        ? "Type what the text says"
        : `Type words to find ${about.kinds[usual()].many}`;
  by("k").max = about.limits.results;
  by("both-label").hidden = !about.against;
  by("columns").replaceChildren(
    ...about.columns.map((name) => make("button", { type: "button", class: "column", onclick: () => insert(name) }, name)),
  );
  by("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    address.go("search", { ...subject(), ...options() });
  });
  for (const id of ["modality", "k", "both"]) by(id).addEventListener("change", again);
  by("query").addEventListener("input", () => (by("search-chosen").hidden = true)); // words take the picture's place
  by("search-pick").addEventListener("click", choose);
  addEventListener("keydown", move);
}

/** Make the same query again after an option has changed, where there is a query. */
function again() {
  const asked = subject();
  if (Object.values(asked).some(Boolean)) address.go("search", { ...asked, ...options() });
}

function insert(name) {
  const field = by("where");
  field.setRangeText(/^\w+$/.test(name) ? name : `"${name}"`, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

const isText = (name) => about.kinds[name].modality === "text";
const isImage = (name) => about.kinds[name].modality === "image";

/** Pictures are looked for unless there are none, else what is no text. */
const usual = () => {
  const names = Object.keys(about.modalities);
  return names.find(isImage) ?? names.find((name) => !isText(name)) ?? names[0];
};
const rows = () => about.modalities[by("modality").value] ?? about.indexes[0].rows;

/** Read what is asked: a picture or a row while one is shown, else the words. */
function subject() {
  const { fields } = address.read();
  if (!by("search-chosen").hidden) return { picture: fields.picture };
  if (fields.like && !by("query").value) return { like: fields.like };
  return { q: by("query").value.trim() };
}

function options() {
  return {
    k: Number(by("k").value) === Math.min(COUNT, rows()) ? "" : by("k").value,
    modality: by("modality").value === usual() ? "" : by("modality").value,
    where: by("where").value.trim(),
    both: by("both").checked,
  };
}

/** Show the query of the address. */
export async function show(fields) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  givePicturesTo((picture) => address.go("search", { picture, ...options() }));
  const among = by("found").contains(document.activeElement);
  fill(fields);
  const picture = heldPicture(fields.picture);
  if (!fields.q && !fields.like && !picture) return fields.picture ? empty(gone) : showBeginning(signal);
  const body = {
    ...(picture ? { image: picture.data } : fields.like ? { id: fields.like } : { query: fields.q }),
    k: Number(by("k").value),
    modality: fields.modality ?? usual(),
    ...(fields.where ? { where: fields.where } : {}),
  };
  by("search").setAttribute("aria-busy", "true");
  by("count").textContent = "Searching …";
  try {
    const indexes = about.against && fields.both ? ["first", "against"] : ["first"];
    const [like, ...answers] = await Promise.all([
      fields.like && !picture && !fields.q ? get(`/v1/items/${encodeURIComponent(fields.like)}`, signal) : null,
      ...indexes.map((index) => post("/v1/search", index === "first" ? body : { ...body, index }, signal)),
    ]);
    showAsked(like);
    lately.asked = picture ? picture.name : like ? like.text || (like.key ?? String(like.id)) : fields.q;
    lately.rows = new Set(answers[0].results.map(rowName));
    answered(answers, fields);
    showCode(by("search-code"), { path: "/v1/search", body, file: picture?.name, answer: "results" });
    if (!among) return;
    scrollTo(0, 0); // who chose a result goes on among the new ones
    document.querySelector(".card")?.focus({ preventScroll: true });
  } catch (error) {
    if (error.name === "AbortError") return;
    empty([]);
    const whereFails = error.parameter === "where" || (fields.where && /where/.test(error.message));
    by("where").setAttribute("aria-invalid", whereFails);
    if (whereFails) by("where-part").open = true;
    throw error;
  } finally {
    if (!signal.aborted) by("search").removeAttribute("aria-busy");
  }
}

/** Put the address's query into the form. */
function fill(fields) {
  const picture = heldPicture(fields.picture);
  by("query").value = fields.q ?? "";
  by("modality").value = fields.modality ?? usual();
  by("k").value = fields.k ?? Math.min(COUNT, rows());
  by("where").value = fields.where ?? "";
  by("where").removeAttribute("aria-invalid");
  if (fields.where) by("where-part").open = true;
  by("both").checked = Boolean(fields.both);
  const chosen = by("search-chosen");
  chosen.hidden = !picture;
  chosen.replaceChildren(...(picture ? preview(picture, () => address.go("search", options())) : []));
}

const begin = [
  make("h2", {}, "Ask in words or with a picture"),
  make("p", {}, "Type a few words, or paste or drop a picture anywhere on this page to find its like."),
];
const inWords = [make("h2", {}, "Ask in words"), make("p", {}, "Type a few words, or choose a row to find its like.")];
const gone = [
  make("h2", {}, "The picture is not part of the address"),
  make("p", {}, "A picture of your own stays in your browser and goes to the server only as a query. Paste or drop it again."),
];

/** Say what to do, and show a few rows to begin with. */
async function showBeginning(signal) {
  empty(about.indexes[0].takes.includes("image") ? begin : inWords);
  const rows = await Promise.all(about.examples.map((id) => get(`/v1/items/${id}`, signal)));
  const items = rows.map((row) => make("li", {}, make("a", { class: "card", href: address.write("search", { like: row.id }) }, ...face(row)), player(row)));
  by("found").append(make("ol", { class: "results few", "aria-label": "Rows to begin with" }, ...items));
}

function empty(said) {
  by("count").textContent = "";
  by("asked").replaceChildren();
  by("search-code").hidden = true;
  by("search").classList.toggle("without", true);
  by("found").replaceChildren(...(said.length ? [make("div", { class: "empty" }, ...said)] : []));
}

/** Show the row whose like is looked for, with its columns. */
function showAsked(row) {
  if (row === null) return by("asked").replaceChildren();
  const { id, key, text, split, labels, picture, sound } = row;
  const facts = Object.entries({ id, key, split, ...labels }).filter(([, value]) => value !== null);
  by("asked").replaceChildren(
    make(
      "article",
      { class: "asked", "aria-label": "The row whose like is looked for" },
      picture ? tile(row, text || "The picture asked about") : null,
      make(
        "div",
        {},
        make("p", { class: "kind" }, "more like this"),
        make("h2", {}, text || (key ?? String(id))),
        sound ? player(row) : null,
        make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))),
        picture && labelling(about) ? make("a", { href: address.write("labels", { id }) }, "Try labels on it") : null,
      ),
    ),
  );
}

const rowName = (row) => `${row.modality} ${row.id}`;

function answered(answers, fields) {
  by("search").classList.toggle("without", false);
  const [first, second] = answers.map((answer) => answer.results);
  const seconds = Math.max(...answers.map((answer) => answer.seconds ?? 0));
  const within = ` in ${seconds < 0.01 ? "under 0.01" : seconds.toFixed(2)} s`;
  const none = fields.where ? "Nothing meets the condition. Loosen “Only where”." : "Nothing is there to be found.";
  if (!second) {
    by("count").textContent = first.length ? several(first.length, "result") + within : none;
    by("found").replaceChildren(list(first, "Results", null, fields));
    return;
  }
  const [one, other] = modelNames(about);
  const places = (rows) => new Map(rows.map((row, place) => [rowName(row), place + 1]));
  const [inFirst, inSecond] = [places(first), places(second)];
  const shared = first.filter((row) => inSecond.has(rowName(row))).length;
  by("count").textContent = first.length || second.length ? `${shared} of ${Math.max(first.length, second.length)} found by both${within}` : none;
  const column = (name, look, rows, others) =>
    make("section", { class: look, "aria-label": name }, make("h2", { class: "arm" }, name), list(rows, `Results of ${name}`, others, fields));
  by("found").replaceChildren(
    make("div", { class: "sides" }, column(one, "arm-0", first, inSecond), column(other, "arm-1", second, inFirst)),
  );
}

const list = (rows, name, others, fields) =>
  make("ol", { class: "results", "aria-label": name }, ...rows.map((row) => card(row, others, fields)));

const DRAWN = ["audio", "series", "table"]; // modalities whose pictures are drawings, wider than high

/** Make the picture of a row: its own, or a drawing of what it is. */
function tile({ picture: path, modality, modalities = [modality] }, alt) {
  const kinds = modalities.map((name) => about.kinds[name].modality);
  const drawn = !kinds.includes("image") && kinds.find((kind) => DRAWN.includes(kind));
  const image = make("img", { alt, loading: "lazy", decoding: "async", draggable: "false" });
  const box = make("span", { class: drawn ? `tile drawn of-${drawn}` : "tile" }, image);
  image.addEventListener("error", () => box.replaceChildren(make("span", { class: "nopicture" }, "no picture")));
  showPicture(image, path);
  return box;
}

const ends = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinal = (place) => place + ends[new Intl.PluralRules("en", { type: "ordinal" }).select(place)];

/** Make a player of a row's sound, where it has one; it stands beside the link of a card, which nothing else may be in. */
function player(row) {
  if (!row.sound) return null;
  const made = make("audio", { controls: true, preload: "none", "aria-label": `Sound: ${row.text || (row.key ?? row.id)}` });
  const box = make("span", { class: "player" }, made);
  made.addEventListener("error", () => box.replaceChildren(make("span", { class: "nosound" }, "no sound")));
  giveSound(made, row.sound);
  return box;
}

/** A row's picture, where it is one, and its text. */
function face(row) {
  const shown = row.picture && !(row.modalities ?? [row.modality]).every(isText);
  const text = row.text || (row.key ?? String(row.id));
  return [shown ? tile(row, "") : "", make("span", { class: shown ? "caption" : "caption alone" }, text)];
}

function card(row, others, { k, modality, where, both }) {
  const place = others?.get(rowName(row));
  return make(
    "li",
    {},
    make(
      "a",
      { class: "card", href: address.write("search", { like: row.id, k, modality, where, both }) },
      ...face(row),
      make(
        "span",
        { class: "facts" },
        make("b", { title: "Similarity of the query and this row" }, score(row.score)),
        " ",
        others && (place ? make("span", {}, `${ordinal(place)} there`) : make("span", { class: "only" }, "only here")),
        " ",
        make("span", { class: "more" }, "more like this"),
      ),
    ),
    player(row),
  );
}

/** Move through the results by arrows; / begins to type and Escape comes back to the words. */
function move(event) {
  if (by("search").hidden || event.ctrlKey || event.metaKey || event.altKey || by("entry").open) return;
  const here = document.activeElement;
  const typing = here.matches("input, textarea, select");
  if (event.key === "/" && !typing) return taken(event, by("query"));
  if (event.key === "Escape" && here.matches(".card")) return taken(event, by("query"));
  if (here === by("query") && event.key === "ArrowDown") return taken(event, document.querySelector(".card"));
  if (!here.matches(".card") || !event.key.startsWith("Arrow")) return;
  const cards = [...document.querySelectorAll(".card")];
  const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const target = along ? cards[cards.indexOf(here) + along] : above(cards, here, event.key);
  taken(event, target ?? (event.key === "ArrowUp" ? by("query") : null));
}

function taken(event, target) {
  if (!target) return;
  event.preventDefault();
  target.focus();
}

/** Find the nearest card in the next row of cards, up or down. */
function above(cards, here, key) {
  const from = here.getBoundingClientRect();
  const distance = (card) => {
    const box = card.getBoundingClientRect();
    const down = key === "ArrowDown" ? box.top - from.top : from.top - box.top;
    return down < 2 ? Infinity : down * 2 + Math.abs(box.left - from.left);
  };
  const nearest = cards.reduce((best, card) => (distance(card) < distance(best) ? card : best), here);
  return nearest === here ? null : nearest;
}
