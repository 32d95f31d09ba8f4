/** Mail the address of a link. */

import type { Share } from "@we-upload/client";
import { s } from "../core/screen-texts";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { linkChanges } from "../links/link-changes";
import { linkName } from "../links/link-name";
import { FormDialog, FormError, TextAreaField, textOf } from "../ui/form-dialog";
import { readAddresses } from "./link-rules";

/** The API's limit. */
const RECIPIENTS_MAX = 20;

export function MailLink({ link, onClose }: { readonly link: Share; readonly onClose: () => void }) {
  async function send(fields: FormData): Promise<void> {
    const addresses = readAddresses(textOf(fields, "addresses"));
    if (addresses.length === 0) throw new FormError(s.share.nameSomeone);
    if (addresses.length > RECIPIENTS_MAX) throw new FormError(s.linkMail.tooMany(RECIPIENTS_MAX));
    const message = textOf(fields, "message");
    await linkChanges.mail(link.id, { addresses: [...addresses], message: message === "" ? null : message });
    showToast(s.linkMail.sent(addresses.length), { icon: "check" });
  }
  return (
    <FormDialog title={s.linkMail.title} subtitle={linkName(link)} submit={s.linkMail.send} act={send} onClose={onClose}>
      <TextAreaField label={s.linkMail.recipients} name="addresses" rows={2} maxLength={6000} defaultValue="" />
      <TextAreaField label={s.linkMail.message} name="message" rows={3} maxLength={1000} defaultValue="" />
      <p class="hint">{s.linkMail.hint(user.value?.email ?? "")}</p>
      {link.has_password && <p class="hint">{s.linkMail.noPassword}</p>}
    </FormDialog>
  );
}
