// The address: view and query stand behind its #, so that a query can be sent to others, kept, and gone back to.

/** Read the view and the query's fields from the address. */
export function read() {
  const text = location.hash.replace(/^#\/?/, "");
  const cut = text.indexOf("?");
  const fields = new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1));
  return { view: (cut < 0 ? text : text.slice(0, cut)) || "search", fields: Object.fromEntries(fields) };
}

/** Write an address; empty fields are left out. */
export function write(view, fields = {}) {
  const filled = Object.entries(fields).filter(([, value]) => value !== "" && value != null && value !== false);
  const text = new URLSearchParams(filled).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

/** Go to an address; a query that stands there already is made again. */
export function go(view, fields) {
  const target = write(view, fields);
  if (location.hash === target) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = target;
}
