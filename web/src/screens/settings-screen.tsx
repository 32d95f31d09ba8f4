/** The account's settings: profile, password, sessions, API keys, and this device. */

import { useEffect, useRef } from "preact/hooks";
import { LANGUAGES, language, setLanguage, t, type Language } from "../core/language";
import { s } from "../core/screen-texts";
import { setSingleKeys, singleKeysEnabled } from "../core/keys";
import { location } from "../core/router";
import { serverConfig } from "../core/server-config";
import { setTheme, theme, type Theme } from "../core/theme";
import { Switch } from "../ui/choices";
import { Password, Profile, ProfileName } from "../settings/account";
import { Activity } from "../settings/activity";
import { DeleteAccount } from "../settings/delete-account";
import { ApiKeys } from "../settings/api-keys";
import { Notifications } from "../settings/notifications";
import { useConnectAddress } from "../settings/connect-program";
import { OwnData } from "../settings/own-data";
import { Section, SECTIONS } from "../settings/section";
import { SecondFactor } from "../settings/second-factor";
import { SignInProviders } from "../settings/sign-in-providers";
import { Sessions } from "../settings/sessions";
import { Webhooks } from "../settings/webhooks";
import { SelectField } from "../ui/form-dialog";

export function SettingsScreen() {
  useConnectAddress();
  const { hash } = location.value;
  const current = hash === "" ? "profile" : hash;
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    if (hash === "") return;
    // The browser looks for the section before this screen is loaded.
    document.getElementById(hash)?.scrollIntoView();
    const link = nav.current?.querySelector<HTMLElement>('[aria-current="true"]');
    if (link) nav.current?.scrollTo({ left: link.offsetLeft - nav.current.offsetLeft });
  }, [hash]);
  return (
    <>
      <div class="head">
        <h1>{t.nav.settings}</h1>
      </div>
      <div class="settings">
        <nav class="nav" ref={nav} aria-label={t.nav.settings}>
          {SECTIONS.filter(isShown).map((section) => (
            <a key={section} href={`#${section}`} aria-current={section === current ? "true" : undefined}>
              {s.settings.sections[section]}
            </a>
          ))}
        </nav>
        <div class="stack g8">
          <Section id="profile">
            <ProfileName />
            <Profile />
          </Section>
          {serverConfig.value?.password_sign_in !== false && (
            <Section id="password">
              <Password />
            </Section>
          )}
          <SignInProviders />
          <SecondFactor />
          <Sessions />
          {serverConfig.value?.mail_available && <Notifications />}
          <Activity />
          <ApiKeys />
          <Webhooks />
          <Section id="device">
            <div class="card pad stack">
              <DevicePreferences />
              <label class="row g3" for="settings-keys">
                <Switch id="settings-keys" label={s.keys.single} isOn={singleKeysEnabled.value} onChange={setSingleKeys} />
                <span>{s.keys.single}</span>
              </label>
            </div>
          </Section>
          <OwnData />
          <DeleteAccount />
        </div>
      </div>
    </>
  );
}

/** Whether the server has what the section is about. */
function isShown(section: (typeof SECTIONS)[number]): boolean {
  const config = serverConfig.value;
  if (section === "password") return config?.password_sign_in !== false;
  if (section === "notifications") return config?.mail_available === true;
  return section !== "providers" || (config?.sign_in_providers.length ?? 0) > 0;
}

/** Language and theme of this device. */
function DevicePreferences() {
  return (
    <div class="form2">
      <SelectField label={s.settings.language} value={language.value} options={Object.entries(LANGUAGES)} onChange={(choice) => setLanguage(choice as Language)} />
      <SelectField
        label={s.settings.theme}
        value={theme.value}
        options={(["system", "light", "dark"] as const).map((choice) => [choice, s.settings.themes[choice]] as const)}
        onChange={(choice) => setTheme(choice as Theme)}
      />
    </div>
  );
}
