/** The frame of each part of the settings. */

import type { ComponentChildren } from "preact";
import { s } from "../core/screen-texts";

/** In the order of the screen. */
export const SECTIONS = ["profile", "password", "providers", "factor", "sessions", "notifications", "activity", "keys", "hooks", "device", "data", "end"] as const;

interface SectionProps {
  readonly id: (typeof SECTIONS)[number];
  readonly action?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A part of the settings with its heading. */
export function Section({ id, action, children }: SectionProps) {
  return (
    <section class="set" id={id} aria-labelledby={`${id}-title`}>
      <header>
        <h2 id={`${id}-title`}>{s.settings.sections[id]}</h2>
        {action}
      </header>
      {children}
    </section>
  );
}
