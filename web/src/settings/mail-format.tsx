/** The language and the time zone of the mails to the account. */

import { api } from "../core/api";
import { LANGUAGES } from "../core/language";
import { showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { SelectField } from "../ui/form-dialog";

export function MailFormat() {
  const account = user.value;
  const language = account?.locale ?? "";
  const zone = account?.time_zone ?? "";
  const languages: [string, string][] = Object.entries(LANGUAGES);
  // A program may have set another one, such as `de-AT`.
  if (language !== "" && !languages.some(([tag]) => tag === language)) languages.push([language, language]);
  const zones = Intl.supportedValuesOf("timeZone").filter((name) => name !== "UTC");
  if (zone !== "" && zone !== "UTC" && !zones.includes(zone)) zones.push(zone);
  const save = async (changes: { readonly locale?: string; readonly time_zone?: string }) => {
    try {
      user.value = await api.accounts.updateMe(changes);
      showToast(s.share.saved);
    } catch (cause) {
      showProblem(cause);
    }
  };
  return (
    <div class="form2">
      <SelectField label={s.notify.language} value={language === "" ? "en" : language} options={languages} onChange={(locale) => void save({ locale })} />
      <SelectField
        label={s.notify.zone}
        value={zone === "" ? "UTC" : zone}
        options={["UTC", ...zones].map((name) => [name, name.replaceAll("_", " ")] as const)}
        onChange={(time_zone) => void save({ time_zone })}
      />
    </div>
  );
}
