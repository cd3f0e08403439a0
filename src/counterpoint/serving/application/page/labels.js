// Zero-shot: one picture under labels of the user's own, by one model or by both.

import * as address from "./address.js";
import { get, post, showPicture } from "./api.js";
import { showCode } from "./code.js";
import { by, make, score, several } from "./parts.js";
import { choose, givePicturesTo, heldPicture } from "./picture.js";
import { modelNames } from "./served.js";

const TEMPLATE = "a photo of {}";

let about;
let running = new AbortController();

export function prepare(said) {
  about = said;
  by("labels-pick").addEventListener("click", choose);
  by("labels-form").addEventListener("submit", (event) => {
    event.preventDefault();
    address.go("labels", { ...subject(), ...written() });
  });
}

const subject = () => {
  const { picture, id } = address.read().fields;
  return picture ? { picture } : { id };
};

const lines = () => by("label-list").value.split("\n").map((line) => line.trim()).filter(Boolean);

function written() {
  const template = by("template").value.trim();
  return { labels: lines().join("\n"), template: template === TEMPLATE ? "" : template };
}

/** Show the query of the address. */
export async function show(fields) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  givePicturesTo((picture) => address.go("labels", { picture, ...written() }));
  if (fields.labels !== undefined) by("label-list").value = fields.labels;
  by("template").value = fields.template ?? (by("template").value || TEMPLATE);
  by("bars").replaceChildren();
  by("labels-code").hidden = true;
  const picture = heldPicture(fields.picture);
  await showSubject(picture, fields.id, signal);
  if (!picture && fields.id === undefined) return say(fields.picture ? "The picture is not part of the address: choose it again." : "");
  const labels = lines();
  if (!labels.length) return say("Write the labels, one a line, then Compare.");
  const body = { ...(picture ? { image: picture.data } : { id: fields.id }), labels, template: by("template").value };
  say("Comparing …");
  try {
    const indexes = about.against ? ["first", "against"] : ["first"];
    const answers = await Promise.all(
      indexes.map((index) => post("/v1/zero-shot", index === "first" ? body : { ...body, index }, signal)),
    );
    const names = modelNames(about);
    const best = answers.map((answer) => answer.labels[0].label); // the best comes first
    say(best[1] === undefined ? `Most like “${best[0]}”, of ${several(labels.length, "label")}` : `${names[0]}: “${best[0]}”. ${names[1]}: “${best[1]}”.`);
    const charts = answers.map((answer, place) => chart(answer.labels, names[place], place, answers.length > 1));
    by("bars").replaceChildren(
      make("div", { class: charts.length > 1 ? "sides" : "" }, ...charts),
      make("p", { class: "note" }, "Similarity of the picture and each label’s sentence; the best label’s bar is full."),
    );
    showCode(by("labels-code"), { path: "/v1/zero-shot", body, file: picture?.name, answer: "labels" });
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    throw error;
  }
}

function say(text) {
  by("labels-count").textContent = text;
}

async function showSubject(picture, id, signal) {
  const place = by("labels-pick");
  if (!picture && id === undefined) return place.replaceChildren(make("span", {}, "Choose, paste or drop a picture"));
  const image = make("img", { alt: picture ? `Your picture ${picture.name}` : "The picture asked about" });
  place.replaceChildren(image, make("small", {}, "Another picture"));
  if (picture) image.src = picture.data;
  else {
    const row = await get(`/v1/items/${encodeURIComponent(id)}`, signal);
    image.alt = row.text || image.alt;
    await showPicture(image, row.picture);
  }
}

function chart(labels, name, place, titled) {
  const low = Math.min(0, labels.at(-1).score);
  const range = labels[0].score - low || 1;
  return make(
    "section",
    { class: `arm-${place}`, "aria-label": name },
    titled ? make("h2", { class: "arm" }, name) : null,
    make("ol", { class: "bars" }, ...labels.map((each) => row(each, (each.score - low) / range))),
  );
}

function row(each, length) {
  const bar = make("span", { class: "bar" });
  bar.style.width = `${length * 100}%`;
  const track = make("span", { class: "track", "aria-hidden": "true" }, bar);
  return make("li", {}, make("span", { class: "who" }, each.label), track, make("b", {}, score(each.score)));
}
