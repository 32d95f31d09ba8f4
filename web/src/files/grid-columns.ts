/** How many tiles stand side by side. */

const TILE_MIN_PIXELS = 210;
/** The padding and the gap of a tile. */
const AROUND_PIXELS = 24;
/** Below it, two tiles side by side would be too narrow for a name. */
const TWO_COLUMNS_MIN_PIXELS = 340;

/** Return how many tiles stand side by side in a grid of this width, in pixels. */
export function columnsFor(width: number): number {
  if (width < TWO_COLUMNS_MIN_PIXELS) return 1;
  return Math.max(2, Math.floor(width / (TILE_MIN_PIXELS + AROUND_PIXELS)));
}
