/** Shorten a name in its middle, so that its end and its ending stay visible. */

const TAIL_LETTERS = 4;

/** Return how many letters of a name always stay at its end: four of the stem and the ending. */
function tailLength(letters: readonly string[]): number {
  const dot = letters.lastIndexOf(".");
  const ending = dot > 0 && letters.length - dot <= 9 ? letters.length - dot : 0;
  return Math.min(letters.length, ending + TAIL_LETTERS);
}

/** Return the longest form of `name` that is at most `width` wide, by `measure`. */
export function fitMiddle(name: string, width: number, measure: (text: string) => number): string {
  if (width <= 0 || measure(name) <= width) return name;
  const letters = Array.from(name);
  const tail = letters.slice(letters.length - tailLength(letters)).join("");
  const stem = letters.slice(0, letters.length - tailLength(letters));
  let shown = 0;
  let tooMany = stem.length + 1;
  while (tooMany - shown > 1) {
    const middle = Math.floor((shown + tooMany) / 2);
    if (measure(`${stem.slice(0, middle).join("")}…${tail}`) <= width) shown = middle;
    else tooMany = middle;
  }
  return `${stem.slice(0, shown).join("").trimEnd()}…${tail}`;
}
