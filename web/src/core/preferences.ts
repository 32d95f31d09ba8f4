/** What the browser remembers for the user on this device. */

type PreferenceName = "language" | "theme" | "single-key-shortcuts" | "file-view" | "unfinished-uploads" | "session" | "provider";

/** Return a remembered value; null where there is none or storage is blocked. */
export function readPreference(name: PreferenceName): string | null {
  try {
    return localStorage.getItem(`we-upload.${name}`);
  } catch {
    return null;
  }
}

/** Remember a value. Where storage is blocked, it lasts as long as the page. */
export function writePreference(name: PreferenceName, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`we-upload.${name}`);
    else localStorage.setItem(`we-upload.${name}`, value);
  } catch {
    // Storage is blocked or full; the choice holds for this page.
  }
}

/** Call back with the new value when another tab changes it. */
export function onPreferenceChange(name: PreferenceName, callback: (value: string | null) => void): () => void {
  const listener = (event: StorageEvent) => {
    if (event.key === `we-upload.${name}`) callback(event.newValue);
  };
  window.addEventListener("storage", listener);
  return () => window.removeEventListener("storage", listener);
}
