/** Small controls: buttons, fields, badges, notes. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { t } from "../core/language";
import { problemReference, problemText } from "../core/problems";
import { Icon } from "./icon";
import type { IconName } from "./icon-paths";

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick?: (event: MouseEvent) => void;
  readonly isSmall?: boolean;
  readonly class?: string;
  readonly disabled?: boolean;
}

/** A button without words; its label is its name and its tooltip. */
export function IconButton({ icon, label, onClick, isSmall = false, class: extra = "", disabled = false }: IconButtonProps) {
  const size = isSmall ? "small " : "";
  return (
    <button type="button" class={`btn quiet ${size}icon ${extra}`} aria-label={label} title={label} onClick={onClick} disabled={disabled}>
      <Icon name={icon} {...(isSmall ? { size: "s" as const } : {})} />
    </button>
  );
}

interface SubmitProps {
  readonly isBusy: boolean;
  readonly label: string;
  readonly class?: string;
  readonly form?: string;
}

/** The button that sends a form. While the request runs it is busy and does not send again. */
export function SubmitButton({ isBusy, label, class: extra = "primary", form }: SubmitProps) {
  return (
    <button type="submit" class={`btn ${extra}`} aria-busy={isBusy} {...(form === undefined ? {} : { form })} onClick={(event) => isBusy && event.preventDefault()}>
      {label}
    </button>
  );
}

interface InputProps {
  readonly name?: string;
  readonly type?: "text" | "email" | "password" | "number";
  readonly value?: string;
  readonly defaultValue?: string;
  readonly placeholder?: string;
  readonly autoComplete?: string;
  readonly autoFocus?: boolean;
  readonly required?: boolean;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly min?: number;
  readonly max?: number;
  readonly step?: number | "any";
  readonly dir?: "auto";
  readonly onInput?: (event: InputEvent & { readonly currentTarget: HTMLInputElement }) => void;
}

interface FieldProps extends InputProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly error?: string | null;
  readonly isBig?: boolean;
  /** Shown at the end of the label's line; the keyboard reaches it after the field. */
  readonly aside?: ComponentChildren;
}

export function Field({ label, hint, error, isBig = false, aside, type = "text", ...input }: FieldProps) {
  const id = useId();
  const describedBy = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label class="label" for={id}>
        {label}
      </label>
      <input
        class={isBig ? "input big" : "input"}
        id={id}
        aria-invalid={error ? "true" : undefined}
        aria-describedby={describedBy === "" ? undefined : describedBy}
        // The types of Preact have one set of attributes for each of these; what is used here is in all of them.
        type={type as "text"}
        {...input}
      />
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && <FieldError id={`${id}-error`} text={error} />}
      {aside && <div class="aside">{aside}</div>}
    </div>
  );
}

export function FieldError({ id, text }: { readonly id?: string; readonly text: string }) {
  return (
    <p class="error" role="alert" {...(id === undefined ? {} : { id })}>
      <Icon name="alert" size="s" />
      <span>{text}</span>
    </p>
  );
}

export type Tone = "ok" | "warn" | "bad" | "plain" | "line";

export function Badge({ tone, icon, children }: { readonly tone: Tone; readonly icon: IconName; readonly children: ComponentChildren }) {
  return (
    <span class={tone === "plain" ? "badge" : `badge ${tone}`}>
      <Icon name={icon} />
      {children}
    </span>
  );
}

interface NoteProps {
  readonly tone?: "ok" | "warn" | "bad";
  readonly icon?: IconName;
  readonly children: ComponentChildren;
}

export function Note({ tone, icon = tone === "ok" ? "ok" : tone ? "alert" : "info", children }: NoteProps) {
  return (
    <div class={`note ${tone ?? ""}`} {...(tone === "bad" ? { role: "alert" as const } : {})}>
      <Icon name={icon} />
      <div class="grow">{children}</div>
    </div>
  );
}

/** What went wrong, a way to try again, and the reference that the server's log has. */
export function ErrorNote({ error, onRetry }: { readonly error: unknown; readonly onRetry?: () => void }) {
  const reference = problemReference(error);
  return (
    <Note tone="bad">
      <p>
        <strong>{t.problems.title}</strong> {problemText(error)} {reference !== null && <span class="sm">{t.problems.reference(reference)}</span>}
      </p>
      {onRetry && (
        <button type="button" class="btn small up1" onClick={onRetry}>
          <Icon name="retry" size="s" />
          {t.actions.retry}
        </button>
      )}
    </Note>
  );
}

interface EmptyProps {
  readonly title: string;
  readonly children?: ComponentChildren;
}

export function Empty({ title, children }: EmptyProps) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** The person's initials, for decoration. */
export function Avatar({ name }: { readonly name: string }) {
  const letters = name
    .replace(/@.*/, "")
    .split(/[\s._+-]+/)
    .filter(Boolean)
    .slice(0, 2)
    .map((part) => Array.from(part)[0]?.toUpperCase() ?? "");
  return (
    <span class="avatar" aria-hidden="true">
      {letters.join("") || "?"}
    </span>
  );
}
