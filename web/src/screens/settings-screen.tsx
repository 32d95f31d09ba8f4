/** The account's settings: profile, password, sessions, API keys, and this device. */

import { LANGUAGES, language, setLanguage, t, type Language } from "../core/language";
import { s } from "../core/screen-texts";
import { setSingleKeys, singleKeysEnabled } from "../core/keys";
import { location } from "../core/router";
import { setTheme, theme, type Theme } from "../core/theme";
import { Switch } from "../ui/choices";
import { Name, Password, Profile } from "../settings/account";
import { ApiKeys } from "../settings/api-keys";
import { LeaveSection } from "../settings/leave";
import { SecondFactor } from "../settings/second-factor";
import { Section, SECTIONS } from "../settings/section";
import { Sessions } from "../settings/sessions";
import { Icon } from "../ui/icon";

export function SettingsScreen() {
  const current = location.value.hash === "" ? "profile" : location.value.hash;
  return (
    <>
      <div class="head">
        <h1>{t.nav.settings}</h1>
      </div>
      <div class="settings">
        <nav class="nav" aria-label={t.nav.settings}>
          {SECTIONS.map((section) => (
            <a key={section} href={`#${section}`} aria-current={section === current ? "true" : undefined}>
              {s.settings.sections[section]}
            </a>
          ))}
        </nav>
        <div class="stack g8">
          <Section id="profile">
            <Name />
            <Profile />
          </Section>
          <Section id="password">
            <Password />
          </Section>
          <SecondFactor />
          <Sessions />
          <ApiKeys />
          <Section id="device">
            <div class="card pad stack">
              <DevicePreferences />
              <label class="row g3" for="settings-keys">
                <Switch id="settings-keys" label={s.keys.single} isOn={singleKeysEnabled.value} onChange={setSingleKeys} />
                <span>{s.keys.single}</span>
              </label>
            </div>
          </Section>
          <LeaveSection />
        </div>
      </div>
    </>
  );
}

/** Language and theme of this device. */
function DevicePreferences() {
  return (
    <div class="form2">
      <div class="field">
        <label for="language">{s.settings.language}</label>
        <span class="select">
          <select class="input" id="language" value={language.value} onChange={(event) => setLanguage(event.currentTarget.value as Language)}>
            {Object.entries(LANGUAGES).map(([code, name]) => (
              <option key={code} value={code} lang={code}>
                {name}
              </option>
            ))}
          </select>
          <Icon name="down" size="s" />
        </span>
      </div>
      <div class="field">
        <label for="theme">{s.settings.theme}</label>
        <span class="select">
          <select class="input" id="theme" value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
            {(["system", "light", "dark"] as const).map((choice) => (
              <option key={choice} value={choice}>
                {s.settings.themes[choice]}
              </option>
            ))}
          </select>
          <Icon name="down" size="s" />
        </span>
      </div>
    </div>
  );
}
