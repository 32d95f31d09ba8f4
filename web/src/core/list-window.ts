/** Which rows of a long list are drawn. */

export interface ListWindow {
  /** The first row that is drawn. */
  readonly start: number;
  /** One past the last row that is drawn. */
  readonly end: number;
  /** Heights of what is left out above and below, in pixels. */
  readonly before: number;
  readonly after: number;
}

interface WindowInput {
  readonly rowCount: number;
  readonly rowHeight: number;
  /** How far the top of the list is above the top of the view, in pixels; negative while it is below. */
  readonly scrolled: number;
  readonly viewHeight: number;
  /** Rows beyond the view, so that scrolling shows no gap. The window moves in steps of as many rows: scrolling by one row draws nothing. */
  readonly overscan: number;
}

export function listWindow({ rowCount, rowHeight, scrolled, viewHeight, overscan }: WindowInput): ListWindow {
  if (rowCount === 0 || rowHeight <= 0) return { start: 0, end: 0, before: 0, after: 0 };
  const first = Math.floor(scrolled / rowHeight) - overscan;
  const last = Math.ceil((scrolled + viewHeight) / rowHeight) + overscan;
  const start = Math.max(0, Math.min(rowCount, Math.floor(first / overscan) * overscan));
  const end = Math.max(start, Math.min(rowCount, Math.ceil(last / overscan) * overscan));
  return { start, end, before: start * rowHeight, after: (rowCount - end) * rowHeight };
}

/** Whether the next page should be loaded: less than two views of rows are left below. */
export function isNearEnd({ rowCount, rowHeight, scrolled, viewHeight }: Omit<WindowInput, "overscan">): boolean {
  return (rowCount * rowHeight - scrolled - viewHeight) < 2 * viewHeight;
}

/** Return the id of the row that the Tab key reaches: the active one, or the first one that is drawn. */
export function tabStopOf(drawn: readonly { readonly id: string }[], activeId: string | null): string | undefined {
  return (drawn.find(({ id }) => id === activeId) ?? drawn[0])?.id;
}
