/** Dialogs that are open, the newest on top. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { Fragment } from "preact";

type Render = (close: () => void) => ComponentChildren;

const openDialogs = signal<readonly { readonly id: number; readonly render: Render }[]>([]);
let nextId = 1;

/** Open a dialog. `render` gets what closes it. */
export function showDialog(render: Render): void {
  openDialogs.value = [...openDialogs.value, { id: nextId++, render }];
}

export function closeAllDialogs(): void {
  openDialogs.value = [];
}

export function DialogHost() {
  return (
    <>
      {openDialogs.value.map(({ id, render }) => {
        const close = () => {
          openDialogs.value = openDialogs.value.filter((dialog) => dialog.id !== id);
        };
        return <Fragment key={id}>{render(close)}</Fragment>;
      })}
    </>
  );
}
