/** The form of a file request. */

import type { FileRequest, NewFileRequest } from "@we-upload/client";
import { useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";

const DAYS = [7, 14, 30, 90, 365] as const;
/** File sizes to choose from; the last is the most that one request takes. */
const SIZES = [10_000_000, 100_000_000, 1_000_000_000, 5_368_709_120] as const;
const TYPES = ["any", "image", "pdf", "video"] as const;
const TYPE_PATTERNS: Readonly<Record<(typeof TYPES)[number], readonly string[] | null>> = {
  any: null,
  image: ["image/*"],
  pdf: ["application/pdf"],
  video: ["video/*"],
};

function typeOf(patterns: readonly string[] | null): (typeof TYPES)[number] | "other" {
  if (patterns === null) return "any";
  return TYPES.find((type) => TYPE_PATTERNS[type]?.join() === patterns.join()) ?? "other";
}

interface RequestFormProps {
  /** Null for a new request. */
  readonly request: FileRequest | null;
  readonly onClose: () => void;
  readonly onMade: (request: NewFileRequest) => void;
  readonly onChanged: (request: FileRequest) => void;
}

/** Make a file request, or change one. */
export function RequestForm({ request, onClose, onMade, onChanged }: RequestFormProps) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [key] = useState(() => crypto.randomUUID());
  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    const text = (name: string) => String(fields.get(name) ?? "").trim();
    const days = text("days");
    const type = text("type");
    const body = {
      title: text("title"),
      note: text("note") === "" ? null : text("note"),
      max_files: Number(text("max_files")),
      max_size_bytes: Number(text("max_size_bytes")),
      ...(type === "other" ? {} : { allowed_content_types: TYPE_PATTERNS[type as (typeof TYPES)[number]]?.slice() ?? null }),
      ...(days === "" ? {} : { expires_at: new Date(Date.now() + Number(days) * 86_400_000).toISOString() }),
    };
    setBusy(true);
    setError(null);
    try {
      if (request === null) {
        const made = await api.fileRequests.create(body, { idempotencyKey: key });
        onClose();
        onMade(made);
      } else {
        const changed = await api.fileRequests.update(request.id, body);
        onClose();
        onChanged(changed);
      }
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  const sizes = request === null || SIZES.some((size) => size === request.max_size_bytes) ? SIZES : [...SIZES, request.max_size_bytes].sort((a, b) => a - b);
  const type = request === null ? "any" : typeOf(request.allowed_content_types);
  return (
    <Dialog
      title={request === null ? s.requests.formTitle : s.requests.changeTitle}
      subtitle={s.requests.formText}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form="request-form" isBusy={isBusy} label={request === null ? s.requests.submit : t.actions.save} />
        </>
      }
    >
      <form id="request-form" ref={form} class="dlg-text stack" onSubmit={(event) => void save(event)}>
        <Field label={s.requests.title} name="title" required maxLength={200} defaultValue={request?.title ?? ""} placeholder={s.requests.titlePlaceholder} dir="auto" autoFocus />
        <div class="field">
          <label for="request-note">{s.share.note}</label>
          <textarea class="input" id="request-note" name="note" rows={2} maxLength={2000} dir="auto" defaultValue={request?.note ?? ""} />
        </div>
        <div class="form2">
          <Field label={s.requests.maxFiles} name="max_files" type="number" required min={1} max={10000} defaultValue={String(request?.max_files ?? 100)} />
          <Select id="request-size" name="max_size_bytes" label={s.requests.maxSize} value={String(request?.max_size_bytes ?? 1_000_000_000)} options={sizes.map((size) => [String(size), fmt.bytes(size)])} />
          <Select
            id="request-days"
            name="days"
            label={s.share.closes}
            value={request === null ? "30" : ""}
            options={[...(request === null ? [] : [["", s.requests.keepsDate(fmt.day(new Date(request.expires_at)))] as const]), ...DAYS.map((days) => [String(days), t.format.inDays(days)] as const)]}
          />
          <Select
            id="request-type"
            name="type"
            label={t.files.type}
            value={type}
            options={[...TYPES.map((choice) => [choice, s.requests.types[choice]] as const), ...(type === "other" ? [["other", request?.allowed_content_types?.join(", ") ?? ""] as const] : [])]}
          />
        </div>
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

interface SelectProps {
  readonly id: string;
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [string, string])[];
}

function Select({ id, name, label, value, options }: SelectProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <span class="select">
        <select class="input" id={id} name={name}>
          {options.map(([option, text]) => (
            <option key={option} value={option} selected={option === value}>
              {text}
            </option>
          ))}
        </select>
        <Icon name="down" size="s" />
      </span>
    </div>
  );
}
