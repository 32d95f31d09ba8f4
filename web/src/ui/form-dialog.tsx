/** Dialogs with a form, and the fields that only they have. */

import type { ComponentChildren } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { FieldError, SubmitButton } from "./controls";
import { Dialog } from "./dialog";
import { Icon } from "./icon";

/** A form that its `act` refuses to send, with the reason for the user. */
export class FormError extends Error {}

interface FormDialogProps {
  readonly title: string;
  readonly subtitle?: string;
  readonly submit: string;
  /** Send the form. The dialog closes when it resolves and shows the error when it rejects. */
  readonly act: (fields: FormData) => Promise<unknown>;
  readonly onClose: () => void;
  /** An action beside the one that the form is for. It closes the dialog like `act`. */
  readonly other?: { readonly label: string; readonly act: () => Promise<unknown> };
  readonly isDangerous?: boolean;
  readonly children: ComponentChildren;
}

export function FormDialog({ title, subtitle, submit, act, onClose, other, isDangerous = false, children }: FormDialogProps) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  async function run(action: () => Promise<unknown>): Promise<void> {
    if (isBusy) return;
    setBusy(true);
    setError(null);
    try {
      await action();
      onClose();
    } catch (cause) {
      setError(cause instanceof FormError ? cause.message : problemText(cause));
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={title}
      subtitle={subtitle}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          {other && (
            <button type="button" class="btn quiet" onClick={() => void run(other.act)}>
              {other.label}
            </button>
          )}
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {s.actions.cancel}
          </button>
          <SubmitButton form={id} isBusy={isBusy} label={submit} class={isDangerous ? "danger fill" : "primary"} />
        </>
      }
    >
      <form
        id={id}
        ref={form}
        class="dlg-text stack"
        onSubmit={(event) => {
          event.preventDefault();
          const fields = new FormData(event.currentTarget);
          void run(() => act(fields));
        }}
      >
        {children}
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

/** Return a field of a form without the white space around it. */
export function textOf(fields: FormData, name: string): string {
  return String(fields.get(name) ?? "").trim();
}

interface SelectFieldProps {
  readonly label: string;
  readonly name?: string;
  readonly value: string;
  readonly options: readonly (readonly [string, string])[];
  readonly onChange?: (value: string) => void;
}

export function SelectField({ label, ...select }: SelectFieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <Select id={id} {...select} />
    </div>
  );
}

interface SelectProps extends Omit<SelectFieldProps, "label"> {
  readonly id?: string;
  /** The name of a select that has no label of its own. */
  readonly label?: string;
  readonly class?: string;
}

export function Select({ id, label, class: extra = "", name, value, options, onChange }: SelectProps) {
  return (
    <span class="select">
      <select class={`input ${extra}`} id={id} name={name} aria-label={label} onChange={(event) => onChange?.(event.currentTarget.value)}>
        {options.map(([option, text]) => (
          <option key={option} value={option} selected={option === value}>
            {text}
          </option>
        ))}
      </select>
      <Icon name="down" size="s" />
    </span>
  );
}

interface TextAreaFieldProps {
  readonly label: string;
  readonly name: string;
  readonly defaultValue: string;
  readonly maxLength: number;
  readonly rows: number;
}

export function TextAreaField({ label, name, defaultValue, maxLength, rows }: TextAreaFieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <textarea class="input" id={id} name={name} rows={rows} maxLength={maxLength} dir="auto" defaultValue={defaultValue} />
    </div>
  );
}
