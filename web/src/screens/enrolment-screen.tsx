/** For an account that must have a second factor and has none: nothing else is possible before it is set up. */

import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { signOut } from "../core/session";
import { turnOnSecondFactor } from "../settings/second-factor";
import { AccountPage } from "./account-page";

export function EnrolmentScreen() {
  return (
    <AccountPage title={s.leaving.enrolment.title}>
      <p class="soft">{s.leaving.enrolment.text}</p>
      <button type="button" class="btn primary big block" onClick={turnOnSecondFactor}>
        {s.factor.turnOn}
      </button>
      <button type="button" class="btn big block" onClick={() => void signOut()}>
        {t.nav.signOut}
      </button>
    </AccountPage>
  );
}
