/** One account for an administrator: its sessions, links and file requests, with their end. */

import type { FileRequest, SessionInfo, Share, User } from "@we-upload/client";
import type { ComponentChildren } from "preact";
import { accounts } from "../core/account-services";
import { api } from "../core/api";
import { fmt } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { SessionSource } from "../settings/session-source";
import { Loaded, useLoaded } from "../ui/data-table";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";

interface EndableProps<T> {
  readonly title: string;
  readonly read: () => Promise<readonly T[]>;
  readonly keyOf: (row: T) => string;
  readonly nameOf: (row: T) => string;
  readonly detailOf: (row: T) => ComponentChildren;
  readonly isOpen: (row: T) => boolean;
  readonly end: (row: T) => Promise<unknown>;
}

/** A list whose rows can be ended one by one. */
function Endable<T>({ title, read, keyOf, nameOf, detailOf, isOpen, end }: EndableProps<T>) {
  const { value, setValue, error, load } = useLoaded<readonly T[]>(read);
  async function remove(row: T): Promise<void> {
    try {
      await end(row);
      setValue((before) => before?.filter((other) => keyOf(other) !== keyOf(row)) ?? null);
    } catch (cause) {
      showProblem(cause);
    }
  }
  return (
    <div class="stack g2">
      <h3>{title}</h3>
      <Loaded value={value} error={error} onRetry={load} skeletonCount={2}>
        {(rows) =>
          rows.length === 0 ? (
            <p class="soft">{s.leaving.none}</p>
          ) : (
            <ul class="list">
              {rows.map((row) => (
                <li key={keyOf(row)}>
                  <span class="grow">
                    <span class="strong wrapit">{nameOf(row)}</span>
                    <span class="two wrapit">{detailOf(row)}</span>
                  </span>
                  {isOpen(row) && (
                    <button type="button" class="btn quiet small danger" aria-label={s.settings.endOne(nameOf(row))} onClick={() => void remove(row)}>
                      {s.settings.end}
                    </button>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </div>
  );
}

function sessionName(session: SessionInfo): string {
  const browser = session.browser ?? s.settings.unknownBrowser;
  return session.system === null ? browser : s.settings.browserOn(browser, session.system);
}

export function showAccess(account: User): void {
  const created = (row: { readonly created_at: string }) => fmt.moment(new Date(row.created_at));
  showDialog((close) => (
    <Dialog title={s.leaving.access} subtitle={account.email} onClose={close} size="wide">
      <div class="dlg-text stack">
        <Endable<SessionInfo>
          title={s.settings.sections.sessions}
          read={async () => (await accounts.ofUser.sessions(account.id)).items}
          keyOf={(session) => session.id}
          nameOf={sessionName}
          detailOf={(session) => <SessionSource session={session} time={s.settings.lastUsed(fmt.moment(new Date(session.last_used_at)))} />}
          isOpen={() => true}
          end={(session) => accounts.ofUser.endSession(account.id, session.id)}
        />
        <Endable<Share>
          title={s.leaving.links}
          read={async () => (await accounts.ofUser.shares(account.id)).items}
          keyOf={(share) => share.id}
          nameOf={(share) => share.slug ?? share.note ?? s.leaving.linkTo(share.file_ids.length)}
          detailOf={created}
          isOpen={(share) => share.revoked_at === null}
          end={(share) => api.shares.revoke(share.id)}
        />
        <Endable<FileRequest>
          title={s.leaving.requests}
          read={async () => (await accounts.ofUser.fileRequests(account.id)).items}
          keyOf={(request) => request.id}
          nameOf={(request) => request.title}
          detailOf={created}
          isOpen={() => true}
          end={(request) => accounts.ofUser.revokeFileRequest(account.id, request.id)}
        />
      </div>
    </Dialog>
  ));
}
