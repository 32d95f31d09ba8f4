/** Whether files are shown as a list or as a grid. The browser remembers the choice. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../core/language";
import { loadScreens } from "../core/lazy";
import { readPreference, writePreference } from "../core/preferences";
import { showProblem } from "../core/problems";
import { Icon } from "../ui/icon";
import type { FileGrid } from "./file-grid";
import { FileTable, SkeletonRows, type FileTableProps } from "./file-table";

const VIEWS = ["list", "grid"] as const;

export const fileView = signal(VIEWS.find((view) => view === readPreference("file-view")) ?? "list");
/** Null until it is loaded. */
const gridView = signal<typeof FileGrid | null>(null);

export function ViewSwitch() {
  const shown = fileView.value;
  useEffect(() => {
    if (shown === "list" || gridView.value !== null) return;
    loadScreens().then(
      (loaded) => {
        gridView.value = loaded.FileGrid;
      },
      (error: unknown) => {
        fileView.value = "list";
        showProblem(error);
      },
    );
  }, [shown]);
  return (
    <div class="seg icons" role="group" aria-label={t.files.view}>
      {VIEWS.map((view) => (
        <button
          type="button"
          key={view}
          aria-pressed={view === shown}
          aria-label={t.files.views[view]}
          title={t.files.views[view]}
          onClick={() => {
            fileView.value = view;
            writePreference("file-view", view);
          }}
        >
          <Icon name={view} />
        </button>
      ))}
    </div>
  );
}

/** The files in the view that was chosen. */
export function FileView(props: FileTableProps) {
  const View = fileView.value === "list" ? FileTable : gridView.value;
  return View === null ? <SkeletonRows count={8} /> : <View {...props} />;
}
