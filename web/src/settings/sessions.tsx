/** Where the account is signed in. */

import type { SessionInfo } from "@we-upload/client";
import { api } from "../core/api";
import { describeBrowser } from "../core/browser-name";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { signOut } from "../core/session";
import { showToast } from "../core/toasts";
import { Badge } from "../ui/controls";
import { Loaded, useLoaded } from "../ui/data-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import { signOutEverywhere } from "../screens/sign-in-again";
import { connectProgram } from "./connect-program";
import { Section } from "./section";
import { SessionSource } from "./session-source";

export function Sessions() {
  const { value: sessions, setValue: setSessions, error, load } = useLoaded<readonly SessionInfo[]>(() => api.accounts.sessions());
  const others = sessions?.filter((session) => !session.is_current) ?? [];
  async function end(ended: readonly SessionInfo[]): Promise<void> {
    setSessions((before) => before?.filter((session) => !ended.includes(session)) ?? null);
    try {
      for (const session of ended) await api.accounts.endSession(session.id);
      showToast(s.settings.sessionsEnded(ended.length), { icon: "out" });
    } catch (cause) {
      showProblem(cause);
      load();
    }
  }
  const confirmAll = () =>
    showDialog((close) => (
      <ConfirmDialog
        title={s.settings.endAllTitle}
        text={s.settings.endAllText}
        confirm={s.settings.endAll}
        onConfirm={() => void signOutEverywhere()}
        onClose={close}
      />
    ));
  return (
    <Section
      id="sessions"
      action={
        <span class="row g4">
          <button type="button" class="link" onClick={() => connectProgram()}>
            {s.connect.title}
          </button>
          {others.length > 0 && (
            <button type="button" class="link" onClick={() => void end(others)}>
              {s.settings.endOthers}
            </button>
          )}
        </span>
      }
    >
      <Loaded value={sessions} error={error} onRetry={load} skeletonCount={2}>
        {(known) => (
          <ul class="card list">
            {known.map((session) => {
              const browser = describeBrowser(session.user_agent ?? "");
              const name = browser.system === "" ? browser.name || s.settings.unknownBrowser : s.settings.browserOn(browser.name || s.settings.unknownBrowser, browser.system);
              return (
                <li key={session.id}>
                  <span class="tile">
                    <Icon name={browser.isPhone ? "phone" : "monitor"} />
                  </span>
                  <span class="grow">
                    <span class="strong">{name}</span>
                    <span class="two wrapit">
                      <SessionSource
                        session={session}
                        time={session.is_current ? s.settings.since(fmt.moment(new Date(session.created_at))) : s.settings.lastUsed(fmt.moment(new Date(session.last_used_at)))}
                      />
                    </span>
                  </span>
                  <span class="acts row">
                    {session.is_current ? (
                      <Badge tone="ok" icon="check">
                        {s.settings.thisOne}
                      </Badge>
                    ) : (
                      <button type="button" class="btn small" aria-label={s.settings.endOne(name)} onClick={() => void end([session])}>
                        {s.settings.end}
                      </button>
                    )}
                  </span>
                </li>
              );
            })}
          </ul>
        )}
      </Loaded>
      <p class="hint">{sessions?.some((session) => session.place !== null) ? s.settings.placeHint : s.settings.networkHint}</p>
      <div class="row wrap">
        <button type="button" class="btn" onClick={() => void signOut()}>
          <Icon name="out" />
          <span>{t.nav.signOut}</span>
        </button>
        <button type="button" class="btn quiet danger" onClick={confirmAll}>
          {s.settings.endAll}
        </button>
      </div>
    </Section>
  );
}
