/** Change the name and description of a file. */

import type { FileInfo } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { extensionOf } from "../core/file-kind";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { FieldError, Field, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";

interface RenameProps {
  readonly file: FileInfo;
  readonly onClose: () => void;
  readonly onSaved: (file: FileInfo) => void;
}

export function RenameDialog({ file, onClose, onSaved }: RenameProps) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    const input = form.current?.querySelector("input");
    const ending = extensionOf(file.filename);
    // The name is selected without its ending, which seldom changes.
    input?.setSelectionRange(0, file.filename.length - (ending === "" ? 0 : ending.length + 1));
  }, []);
  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null) return;
    const fields = new FormData(form.current);
    setBusy(true);
    try {
      const description = String(fields.get("description") ?? "").trim();
      onSaved(await api.files.update(file.id, { filename: String(fields.get("filename")).trim(), description: description === "" ? null : description }));
      onClose();
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={s.rename.title}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form="rename" isBusy={isBusy} label={t.actions.save} />
        </>
      }
    >
      <form id="rename" ref={form} class="stack dlg-text" onSubmit={(event) => void save(event)}>
        <Field label={s.rename.name} name="filename" defaultValue={file.filename} required maxLength={255} autoComplete="off" dir="auto" autoFocus />
        <div class="field">
          <label for="rename-description">{s.rename.description}</label>
          <textarea class="input" id="rename-description" name="description" maxLength={2000} rows={3} dir="auto" defaultValue={file.description ?? ""} />
        </div>
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}
