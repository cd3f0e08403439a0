// A picture of the user's: chosen, pasted or dropped, made smaller where it is large, and held while the page is open.

import { by, make } from "./parts.js";

const SIDE = 1024; // models look at 224 to 512 pixels a side
const BYTES = 2_000_000;
const TAKEN = ["image/jpeg", "image/png", "image/webp", "image/gif"]; // what the server takes as it is

const held = new Map(); // number in the address → picture; an address cannot hold the picture itself
let receiver = () => {};

/** The picture of a number in the address, or undefined when the page was opened anew. */
export const heldPicture = (number) => held.get(number);

/** Say who gets the next picture: a function of its number. */
export function givePicturesTo(view) {
  receiver = view;
}

/** Read a file as a data URL that the server takes, at most 1,024 pixels a side. */
async function reduced(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no picture that the browser can read. Take a JPEG, PNG, WebP or GIF file.`);
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= BYTES && TAKEN.includes(file.type)) return asDataUrl(file);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return file.type === "image/jpeg" ? canvas.toDataURL("image/jpeg", 0.92) : canvas.toDataURL("image/png");
}

const asDataUrl = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });

async function take(files, refuse) {
  const file = [...files].find((each) => each.type.startsWith("image/")) ?? files[0];
  if (!file) return;
  try {
    const data = await reduced(file);
    const key = String(held.size + 1);
    held.set(key, { data, name: file.name || "picture.png" });
    receiver(key);
  } catch (error) {
    refuse(error.message);
  }
}

/** Take pictures from the file dialog, the clipboard and dragging, anywhere on the page. */
export function listen(refuse) {
  const input = by("file");
  input.addEventListener("change", () => {
    take(input.files, refuse).then(() => (input.value = "")); // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files, refuse);
  });
  const sign = by("dropping");
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    sign.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) sign.hidden = true;
  });
  addEventListener("drop", (event) => {
    sign.hidden = true;
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files, refuse);
  });
}

export const choose = () => by("file").click();

/** Make the small picture that stands for the user's, with a button that takes it away. */
export function preview(picture, remove) {
  return [
    make("img", { src: picture.data, alt: `Your picture ${picture.name}` }),
    make("span", {}, picture.name),
    make("button", { type: "button", class: "quiet", onclick: remove, "aria-label": "Take the picture away" }, "×"),
  ];
}
