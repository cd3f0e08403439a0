// Elements of the page. Text enters as text nodes alone, so that nothing in the data is ever read as HTML.

export const by = (id) => document.getElementById(id);

/** Make an element: attributes by name, `on…` for listeners, children as elements or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

const counted = new Intl.NumberFormat("en");
export const number = (value) => counted.format(value);
export const several = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

export const score = (value) => value.toFixed(3).replace("-", "−");

/** Make a button that copies a text. Where the clipboard is not open to the page (no https), it selects the text's element. */
export function copier(text, shown) {
  const button = make("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shown);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
