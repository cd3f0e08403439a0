// A query as curl and as Python. A token is named, never written; a picture is read from its file.

import { asksToken, at, written } from "./api.js";
import { copier, make } from "./parts.js";

const HERE = "@picture@"; // stands in a body where the picture's data URL comes

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const kind = (image) => `data:${image.slice(5, image.indexOf(";"))};base64,`;

function curl({ path, body, file }) {
  const send = [
    `curl ${shell(String(at(path)))}`,
    ...(asksToken() ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    "-H 'Content-Type: application/json'",
  ];
  if (!body.image) return [...send, `-d ${shell(written(body))}`].join(" \\\n  ");
  const [before, after] = JSON.stringify({ ...body, image: HERE }).split(HERE);
  const read = `"$(base64 < ${shell(file)} | tr -d '\\n')"`;
  return [`printf %s ${shell(before + kind(body.image))}${read}${shell(after)} |`, ...send, "-d @-"].join(" \\\n  ");
}

/** Write a value as Python writes it; strings are those of JSON. */
function python(value) {
  if (value === HERE) return "picture";
  if (value === true) return "True";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${name === "id" ? each : python(each)}`);
  return `{${entries.join(", ")}}`;
}

/** Begin a script: its imports, and the picture where the query is one. */
function opening(imported, { body, file }) {
  const lines = [...(body.image ? ["import base64"] : []), ...(asksToken() ? ["import os"] : []), imported, ""];
  if (!body.image) return lines;
  const read = `base64.b64encode(open(${JSON.stringify(file)}, "rb").read()).decode()`;
  return [...lines, `picture = "${kind(body.image)}" + ${read}`];
}

function requests(query) {
  const body = query.body.image ? { ...query.body, image: HERE } : query.body;
  const token = asksToken() ? `, headers={"Authorization": "Bearer " + os.environ["TOKEN"]}` : "";
  return [
    ...opening("import requests", query),
    `answer = requests.post(${JSON.stringify(String(at(query.path)))}, json=${python(body)}${token})`,
    "answer.raise_for_status()",
    `for each in answer.json()[${JSON.stringify(query.answer)}]:`,
    "    print(each)",
  ].join("\n");
}

function openai(query) {
  const input = query.body.image ? [{ image: HERE }] : [query.body.query];
  const token = asksToken() ? 'os.environ["TOKEN"]' : '"none"';
  return [
    ...opening("from openai import OpenAI", query),
    `client = OpenAI(base_url=${JSON.stringify(String(at("v1")))}, api_key=${token})`,
    `vector = client.embeddings.create(model="default", input=${python(input)}).data[0].embedding`,
  ].join("\n");
}

/**
 * Show a query as code in its <details>. A query has its `path` and `body`, the name of the list in the `answer`,
 * and the `file` of its picture.
 */
export function showCode(details, query) {
  const pieces = [["curl", curl(query)], ["Python with requests", requests(query)]];
  if (query.path === "/v1/search" && (query.body.query || query.body.image)) {
    pieces.push(["Python with openai: the vector alone", openai(query)]);
  }
  details.hidden = false;
  details.querySelector("div").replaceChildren(
    ...pieces.map(([title, text]) => {
      const shown = make("code", {}, text);
      const caption = make("figcaption", {}, make("b", {}, title), copier(text, shown));
      return make("figure", {}, caption, make("pre", { tabindex: "0", role: "region", "aria-label": title }, shown));
    }),
  );
}
