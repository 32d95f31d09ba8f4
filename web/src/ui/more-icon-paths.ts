/** Icons of the screens that are loaded later. */

export const MORE_ICON_PATHS = {
  copy: ["M7.5 7.5h9v9h-9zM12.5 7.5v-4h-9v9h4"],
  hook: ["M7.5 8.5a3 3 0 1 1 4.5-2.6c0 .6-.2 1.1-.4 1.6L14 12M6.5 11.2A3 3 0 1 0 8.5 14H14M14 17a2.5 2.5 0 1 0-.8-4.9"],
  key: ["M7 16a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M9.5 10 16 3.5M13 6.5l2.5 2.5"],
  left: ["M12 5l-5 5 5 5"],
  mail: ["M3 5h14v10.5H3zM3.3 5.5 10 11l6.7-5.5"],
  monitor: ["M3 4h14v9.5H3zM7.5 16.5h5M10 13.5v3"],
  pause: ["M7 5v10M13 5v10"],
  phone: ["M6 2.8h8v14.4H6zM9.3 14.7h1.4"],
  play: ["M6.5 4.5v11l9-5.5z"],
  right: ["M8 5l5 5-5 5"],
  shield: ["M10 3l6 2v4.5c0 3.7-2.5 6.3-6 7.5-3.5-1.2-6-3.8-6-7.5V5z", "M7.3 10l1.9 1.9 3.5-3.8"],
  up: ["M6 12l4-4 4 4"],
} as const satisfies Record<string, readonly string[]>;
