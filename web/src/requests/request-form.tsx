/** The form of a file request. */

import type { FileRequest } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { fileRequests } from "./file-requests";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { loadNotificationSettings, notificationSettings } from "../settings/notification-store";
import { Field } from "../ui/controls";
import { FormDialog, SelectField, textOf, TextAreaField } from "../ui/form-dialog";

const DAYS = [7, 14, 30, 90, 365] as const;
/** File sizes to choose from. */
const SIZES = [10_000_000, 100_000_000, 1_000_000_000, 5_000_000_000, 50_000_000_000] as const;
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
  readonly onSaved: (request: FileRequest) => void;
}

/** Make a file request, or change one. */
export function RequestForm({ request, onClose, onSaved }: RequestFormProps) {
  /** The same key for each try, so that a lost answer does not lead to two requests. */
  const [key] = useState(() => crypto.randomUUID());
  useEffect(loadNotificationSettings, []);
  const [chosen, setNotifies] = useState<boolean | null>(request?.notify_on_upload ?? null);
  const notifies = chosen ?? notificationSettings.value?.request_uploads ?? false;
  async function save(fields: FormData): Promise<void> {
    const days = textOf(fields, "days");
    const type = textOf(fields, "type");
    const note = textOf(fields, "note");
    const body = {
      title: textOf(fields, "title"),
      note: note === "" ? null : note,
      ...(serverConfig.value?.mail_available ? { notify_on_upload: fields.has("notify_on_upload") } : {}),
      max_files: Number(textOf(fields, "max_files")),
      max_size_bytes: Number(textOf(fields, "max_size_bytes")),
      ...(type === "other" ? {} : { allowed_content_types: TYPE_PATTERNS[type as (typeof TYPES)[number]]?.slice() ?? null }),
      ...(days === "" ? {} : { expires_at: new Date(Date.now() + Number(days) * 86_400_000).toISOString() }),
    };
    onSaved(request === null ? await fileRequests.create(body, { idempotencyKey: key }) : await fileRequests.update(request.id, body));
  }
  const sizes = request === null || SIZES.some((size) => size === request.max_size_bytes) ? SIZES : [...SIZES, request.max_size_bytes].sort((a, b) => a - b);
  const type = request === null ? "any" : typeOf(request.allowed_content_types);
  return (
    <FormDialog
      title={request === null ? s.requests.formTitle : s.requests.changeTitle}
      subtitle={s.requests.formText}
      submit={request === null ? s.requests.submit : s.actions.save}
      act={save}
      onClose={onClose}
    >
      <Field label={s.requests.title} name="title" required maxLength={200} defaultValue={request?.title ?? ""} placeholder={s.requests.titlePlaceholder} dir="auto" autoFocus />
      <TextAreaField label={s.share.note} name="note" rows={2} maxLength={2000} defaultValue={request?.note ?? ""} />
      <div class="form2">
        <Field label={s.requests.maxFiles} name="max_files" type="number" required min={1} max={10000} defaultValue={String(request?.max_files ?? 100)} />
        <SelectField name="max_size_bytes" label={s.requests.maxSize} value={String(request?.max_size_bytes ?? 1_000_000_000)} options={sizes.map((size) => [String(size), fmt.bytes(size)])} />
        <SelectField
          name="days"
          label={s.share.closes}
          value={request === null ? "30" : ""}
          options={[...(request === null ? [] : [["", s.requests.keepsDate(fmt.day(new Date(request.expires_at)))] as const]), ...DAYS.map((days) => [String(days), t.format.inDays(days)] as const)]}
        />
        <SelectField
          name="type"
          label={t.files.type}
          value={type}
          options={[...TYPES.map((choice) => [choice, s.requests.types[choice]] as const), ...(type === "other" ? [["other", request?.allowed_content_types?.join(", ") ?? ""] as const] : [])]}
        />
      </div>
      {serverConfig.value?.mail_available && (
        <label class="radio">
          <input type="checkbox" name="notify_on_upload" checked={notifies} onChange={(event) => setNotifies(event.currentTarget.checked)} />
          <span>{s.notify.onUpload}</span>
        </label>
      )}
    </FormDialog>
  );
}
