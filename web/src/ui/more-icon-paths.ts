/** Icons of the screens that are loaded later. */

export const MORE_ICON_PATHS = {
  hook: ["M7.5 8.5a3 3 0 1 1 4.5-2.6c0 .6-.2 1.1-.4 1.6L14 12M6.5 11.2A3 3 0 1 0 8.5 14H14M14 17a2.5 2.5 0 1 0-.8-4.9"],
  left: ["M12 5l-5 5 5 5"],
  list: ["M7.5 5.5H16M7.5 10H16M7.5 14.5H16M4 5.5v.05M4 10v.05M4 14.5v.05"],
  mail: ["M3 5h14v10.5H3zM3.3 5.5 10 11l6.7-5.5"],
  monitor: ["M3 4h14v9.5H3zM7.5 16.5h5M10 13.5v3"],
  pause: ["M7 5v10M13 5v10"],
  phone: ["M6 2.8h8v14.4H6zM9.3 14.7h1.4"],
  play: ["M6.5 4.5v11l9-5.5z"],
  right: ["M8 5l5 5-5 5"],
  shield: ["M10 3l6 2v4.5c0 3.7-2.5 6.3-6 7.5-3.5-1.2-6-3.8-6-7.5V5z", "M7.3 10l1.9 1.9 3.5-3.8"],
} as const satisfies Record<string, readonly string[]>;
