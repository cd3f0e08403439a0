// Requests to the server that gave the page, and to no other. A refusal carries the server's own sentence.

import { by, make } from "./parts.js";

const ROOT = new URL(".", document.baseURI); // so that the page also works below a proxy's prefix
const KEPT = "counterpoint token";

/** The address of a path of the API. */
export const at = (path) => new URL(path.replace(/^\//, ""), ROOT);
export const asksToken = () => sessionStorage.getItem(KEPT) !== null;

/** A refusal: a sentence, and the field of the request that it speaks of. */
export class Refused extends Error {
  constructor({ message, parameter = null }) {
    super(message);
    this.parameter = parameter;
  }
}

const TOKENS = /"(?:[^"\\]+|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Read JSON. Whole numbers of 16 digits and more, as ids are, stay text: JavaScript would round them. */
const parsed = (text) => JSON.parse(text.replace(TOKENS, (token) => (/^-?\d{16,}$/.test(token) ? `"${token}"` : token)));

/** Write the JSON of a request; its id, which may be text here, is a number there. */
export const written = (body) => JSON.stringify(body).replace(/"id":"(-?\d+)"/, '"id":$1');

async function fetched(path, options = {}) {
  const token = sessionStorage.getItem(KEPT);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(at(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ message: "The server does not answer. Is it still running?" });
  }
  if (answer.status === 401) {
    const { message } = await said(answer);
    await enterToken(token === null ? "" : message);
    return fetched(path, options);
  }
  if (!answer.ok) throw new Refused(await said(answer));
  return answer;
}

/** Read the sentence of an error, and the field that it speaks of. */
async function said(answer) {
  const plain = `The server answered ${answer.status} ${answer.statusText}`.trim() + ".";
  try {
    const { error } = await answer.json();
    return { message: error?.message ?? plain, parameter: error?.param ?? null };
  } catch {
    return { message: plain, parameter: null };
  }
}

export const get = async (path, signal) => parsed(await (await fetched(path, { signal })).text());

export async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return parsed(await (await fetched(path, { method: "POST", headers, body: written(body), signal })).text());
}

/** Show a picture of the server in an <img>. An <img> cannot send a token, so where there is one the bytes are fetched. */
export async function showPicture(image, path) {
  if (!asksToken()) {
    image.src = at(path);
    return;
  }
  try {
    const address = URL.createObjectURL(await (await fetched(path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

/** Let an <audio> play a sound of the server, whose bytes are fetched when it is first played where there is a token. */
export function giveSound(player, path) {
  if (!asksToken()) {
    player.src = at(path);
    return;
  }
  const load = async () => {
    try {
      player.src = URL.createObjectURL(await (await fetched(path)).blob());
      await player.play();
    } catch {
      player.dispatchEvent(new Event("error"));
    }
  };
  player.replaceWith(make("button", { type: "button", class: "quiet", onclick: (event) => (event.target.replaceWith(player), load()) }, "Play"));
}

let entering = null;

/** Ask for the token once, however many requests wait for it. It is kept for this tab and never part of an address. */
function enterToken(why) {
  entering ??= new Promise((resolve) => {
    const dialog = by("entry");
    by("entry-trouble").textContent = why;
    by("entry-trouble").hidden = !why;
    by("token").value = "";
    dialog.onclose = () => entering && dialog.showModal(); // nothing works without it
    by("entry-form").onsubmit = () => {
      sessionStorage.setItem(KEPT, by("token").value.trim());
      entering = null;
      resolve();
    };
    dialog.showModal();
  });
  return entering;
}
