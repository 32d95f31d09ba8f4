/** What the screens before sign-in share. */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { BRAND_NAME } from "../core/brand";
import { LANGUAGES, language, setLanguage, type Language } from "../core/language";
import { Mark } from "../ui/icon";

interface AccountPageProps {
  readonly title: string;
  readonly children: ComponentChildren;
}

/** The frame of the screens before sign-in. */
export function AccountPage({ title, children }: AccountPageProps) {
  useEffect(() => {
    document.title = `${title} · ${BRAND_NAME}`;
  }, [title]);
  return (
    <div class="page">
      <header />
      <main id="main" class="narrow sign" tabIndex={-1}>
        <div class="stack g6">
          <div class="stack g2">
            <Mark isLarge />
            <h1 class="title md up1">{title}</h1>
            <p class="soft">{window.location.host}</p>
          </div>
          {children}
        </div>
      </main>
      <footer>
        {(Object.keys(LANGUAGES) as Language[])
          .filter((choice) => choice !== language.value)
          .map((choice) => (
            <button type="button" class="link plain" lang={choice} key={choice} onClick={() => setLanguage(choice)}>
              {LANGUAGES[choice]}
            </button>
          ))}
      </footer>
    </div>
  );
}

/** Run what a form does, with its busy state and its error. */
export function useForm(act: (fields: Readonly<Record<string, string>>) => Promise<void>) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const form = useRef<HTMLFormElement>(null);
  // The field that the form needs now: the code of a second factor, or else the password again.
  useLayoutEffect(() => {
    if (error === null) return;
    const field = (selector: string) => form.current?.querySelector<HTMLInputElement>(selector);
    (field('input[name="otp"]') ?? field('input[type="password"]') ?? field("input"))?.focus();
  }, [error]);
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = Object.fromEntries([...new FormData(form.current)].map(([name, value]) => [name, String(value)]));
    setBusy(true);
    setError(null);
    try {
      await act(fields);
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  }
  return { isBusy, error, form, onSubmit: (event: SubmitEvent) => void submit(event) };
}
