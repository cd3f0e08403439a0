// Readings of what the server says about itself, for more than one view.

/** Name the models that are served; two of one name get their places. */
export function modelNames({ indexes }) {
  const names = indexes.map((index) => index.model);
  return names[0] === names[1] ? names.map((name, place) => `${name} (${indexes[place].index})`) : names;
}

/** Say whether the models put pictures and texts into one space, as labels need it. */
export const labelling = ({ indexes }) =>
  indexes.every(({ takes, shares_space }) => shares_space && takes.includes("image") && takes.includes("text"));
