/** Icons and the mark, as inline SVG. */

import { LOGO_URL } from "../core/brand";
import { ICON_PATHS, type IconName } from "./icon-paths";

const paths: Partial<Record<IconName, readonly string[]>> = { ...ICON_PATHS };

/** Add the icons of screens that were loaded later. */
export function addIcons(more: Partial<Record<IconName, readonly string[]>>): void {
  Object.assign(paths, more);
}

interface IconProps {
  readonly name: IconName;
  /** Small is 16 px, large 28 px; otherwise 20 px. */
  readonly size?: "s" | "l";
  readonly class?: string;
}

export function Icon({ name, size, class: extra }: IconProps) {
  const classes = ["i", size, name === "more" ? "dots" : undefined, name === "ok" ? "tick" : undefined, extra];
  return (
    <svg class={classes.filter(Boolean).join(" ")} viewBox="0 0 20 20" aria-hidden="true">
      {paths[name]?.map((path) => (
        <path d={path} />
      ))}
    </svg>
  );
}

export function Mark({ isLarge = false }: { readonly isLarge?: boolean }) {
  const classes = isLarge ? "mark lg" : "mark";
  if (LOGO_URL !== null) return <img class={classes} src={LOGO_URL} alt="" />;
  return (
    <svg class={classes} viewBox="0 0 24 24" aria-hidden="true">
      <rect width="24" height="24" rx="6.5" fill="currentColor" />
      <path class="fg" d="M4.1 8.6 7.9 16.9 11.6 9.3 15.1 16.9 20.1 6.2" fill="none" stroke-width="2.7" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
