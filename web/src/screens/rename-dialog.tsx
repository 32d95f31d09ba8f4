/** Change the name and description of a file. */

import type { FileInfo } from "@we-upload/client";
import { useEffect } from "preact/hooks";
import { api } from "../core/api";
import { extensionOf } from "../core/file-kind";
import { s } from "../core/screen-texts";
import { Field } from "../ui/controls";
import { FormDialog, textOf, TextAreaField } from "../ui/form-dialog";

interface RenameProps {
  readonly file: FileInfo;
  readonly onClose: () => void;
  readonly onSaved: (file: FileInfo) => void;
}

export function RenameDialog({ file, onClose, onSaved }: RenameProps) {
  useEffect(() => {
    const input = document.activeElement;
    const ending = extensionOf(file.filename);
    // The name is selected without its ending, which seldom changes.
    if (input instanceof HTMLInputElement) input.setSelectionRange(0, file.filename.length - (ending === "" ? 0 : ending.length + 1));
  }, []);
  const save = async (fields: FormData) => {
    const description = textOf(fields, "description");
    onSaved(await api.files.update(file.id, { filename: textOf(fields, "filename"), description: description === "" ? null : description }));
  };
  return (
    <FormDialog title={s.rename.title} submit={s.actions.save} act={save} onClose={onClose}>
      <Field label={s.rename.name} name="filename" defaultValue={file.filename} required maxLength={255} autoComplete="off" dir="auto" autoFocus />
      <TextAreaField label={s.rename.description} name="description" maxLength={2000} rows={3} defaultValue={file.description ?? ""} />
    </FormDialog>
  );
}
