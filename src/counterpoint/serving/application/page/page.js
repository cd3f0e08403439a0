// The page: says what is served, then shows the view of the address.

import * as address from "./address.js";
import { asksToken, get } from "./api.js";
import * as labels from "./labels.js";
import * as map from "./map.js";
import { by, several } from "./parts.js";
import { listen } from "./picture.js";
import * as search from "./search.js";
import { labelling, modelNames } from "./served.js";

const views = { search, labels, map };

function trouble(message) {
  by("trouble").textContent = message;
  by("trouble").hidden = !message;
}

let shows = 0;

/** Show the view that the address names. */
async function show() {
  const mine = ++shows;
  const { view, fields } = address.read();
  const name = view in views ? view : "search";
  trouble("");
  by("keys").hidden = name !== "search";
  for (const each of Object.keys(views)) by(each).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    await views[name].show(fields);
  } catch (error) {
    if (mine === shows) trouble(error.message); // who has gone on is not told what became of an earlier address
  }
}

/** Say what is served: the data, how much of it, and by which model. */
function introduce(about) {
  const data = about.data.replace(/^\w+:/, ""); // its name is enough for a title, without the kind of source
  by("title").textContent = document.title = `Search ${data}`;
  const counts = Object.entries(about.modalities).map(([name, count]) => several(count, about.kinds[name].one, about.kinds[name].many));
  by("facts").textContent = [...counts, modelNames(about).join(" and ")].join(" · ");
  by("api").hidden = asksToken(); // a link bears none
  by("attribution").textContent = about.attribution;
  by("to-map").hidden = !about.map;
  by("to-labels").hidden = !labelling(about);
}

by("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the query's
  by("main").focus();
});

try {
  const about = await get("/v1/about");
  introduce(about);
  search.prepare(about);
  labels.prepare(about);
  map.prepare(about);
  listen(trouble);
  addEventListener("hashchange", show);
  await show();
  const untouched = document.activeElement === document.body; // who has begun elsewhere meanwhile goes on there
  if (untouched && !matchMedia("(pointer: coarse)").matches && !by("search").hidden) by("query").focus();
} catch (error) {
  trouble(error.message);
}
