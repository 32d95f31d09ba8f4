/** Accounts: state, role, storage. */

import type { Usage, User, UserUpdate } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { navigate } from "../core/router";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { SkeletonRows } from "../files/file-table";
import { Avatar, Badge, Empty, ErrorNote } from "../ui/controls";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";
import { QuotaDialog } from "./quota-dialog";

const PEOPLE_STEP = 50;
const SEARCH_DELAY_MS = 250;

export function People() {
  const [people, setPeople] = useState<readonly User[] | null>(null);
  const [usages, setUsages] = useState<ReadonlyMap<string, Usage>>(new Map());
  const [next, setNext] = useState<string | null>(null);
  const [search, setSearch] = useState("");
  const [error, setError] = useState<unknown>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  async function load(cursor: string | null, text: string): Promise<void> {
    setError(null);
    try {
      const { items, nextCursor } = await api.admin.users({
        limit: PEOPLE_STEP,
        ...(cursor === null ? {} : { cursor }),
        ...(text === "" ? {} : { search: text }),
      });
      setPeople((before) => (cursor === null ? items : [...(before ?? []), ...items]));
      setNext(nextCursor);
      for (const account of items) {
        const usage = await api.admin.usage(account.id);
        setUsages((before) => new Map(before).set(account.id, usage));
      }
    } catch (cause) {
      setError(cause);
    }
  }
  useEffect(() => void load(null, ""), []);
  const replace = (account: User) => setPeople((before) => before?.map((other) => (other.id === account.id ? account : other)) ?? null);
  const readUsage = (account: User) => api.admin.usage(account.id).then((usage) => setUsages((before) => new Map(before).set(account.id, usage)), showProblem);
  const update = async (account: User, changes: UserUpdate, text: string) => {
    try {
      replace(await api.admin.updateUser(account.id, changes));
      showToast(text, { icon: "user" });
    } catch (cause) {
      showProblem(cause);
    }
  };
  const menu = (account: User) => (): readonly MenuItem[] => [
    {
      label: s.admin.changeQuota,
      icon: "chart",
      run: () => showDialog((close) => <QuotaDialog account={account} usage={usages.get(account.id) ?? null} onClose={close} onSaved={() => void readUsage(account)} />),
    },
    { label: s.admin.showAudit, icon: "list", run: () => navigate(`/admin?tab=audit&actor=${account.id}`) },
    { label: s.admin.endSessions, icon: "out", run: () => void api.admin.endSessions(account.id).then(() => showToast(s.admin.sessionsEnded, { icon: "out" }), showProblem) },
    ...(account.id === user.value?.id
      ? []
      : ([
          account.is_superuser
            ? { label: s.admin.demote, icon: "shield", run: () => confirmRole(account, false) }
            : { label: s.admin.promote, icon: "shield", run: () => confirmRole(account, true) },
          account.is_active
            ? { label: s.admin.disable, icon: "x", isDangerous: true, run: () => confirmDisable(account) }
            : { label: s.admin.enable, icon: "check", run: () => void update(account, { is_active: true }, s.admin.enabled(account.email)) },
        ] as const satisfies readonly MenuItem[])),
  ];
  const confirmDisable = (account: User) =>
    showDialog((close) => (
      <ConfirmDialog
        title={s.admin.disableTitle(account.email)}
        text={s.admin.disableText}
        confirm={s.admin.disable}
        onConfirm={() => void update(account, { is_active: false }, s.admin.disabled(account.email))}
        onClose={close}
      />
    ));
  const confirmRole = (account: User, isSuperuser: boolean) =>
    showDialog((close) => (
      <ConfirmDialog
        title={isSuperuser ? s.admin.promoteTitle(account.email) : s.admin.demoteTitle(account.email)}
        text={isSuperuser ? s.admin.promoteText : s.admin.demoteText}
        confirm={isSuperuser ? s.admin.promote : s.admin.demote}
        onConfirm={() => void update(account, { is_superuser: isSuperuser }, s.share.saved)}
        onClose={close}
      />
    ));
  return (
    <section class="card">
      <div class="pad row between tight wrap">
        <h2>{s.admin.tabs.people}</h2>
        <div class="search">
          <label class="sr" for="people-search">
            {s.admin.searchPeople}
          </label>
          <Icon name="search" />
          <input
            class="input"
            id="people-search"
            type="search"
            value={search}
            placeholder={s.admin.searchPeople}
            onInput={(event) => {
              const typed = event.currentTarget.value;
              setSearch(typed);
              clearTimeout(timer.current);
              timer.current = setTimeout(() => void load(null, typed.trim()), SEARCH_DELAY_MS);
            }}
          />
        </div>
      </div>
      {error !== null && (
        <div class="pad">
          <ErrorNote error={error} onRetry={() => void load(null, search.trim())} />
        </div>
      )}
      {people === null ? (
        <SkeletonRows count={4} />
      ) : people.length === 0 ? (
        <Empty title={t.files.nothingFound} />
      ) : (
        <table class="table inset">
          <caption class="sr">{s.admin.tabs.people}</caption>
          <thead>
            <tr>
              <th class="name" scope="col">
                {t.signIn.email}
              </th>
              <th class="wide" scope="col">
                {s.links.state}
              </th>
              <th class="wide roomy" scope="col">
                {s.admin.role}
              </th>
              <th class="quo" scope="col">
                {s.admin.storage}
              </th>
              <th class="wide" scope="col">
                {s.admin.since}
              </th>
              <th class="act">
                <span class="sr">{t.files.actions}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {people.map((account) => (
              <tr key={account.id}>
                <td class="name">
                  <div class="row g3">
                    <Avatar email={account.email} />
                    <div class="grow">
                      <span class="two strong-two">{account.email}</span>
                      {!account.is_active && (
                        <span class="meta st">
                          <StateOf account={account} />
                        </span>
                      )}
                    </div>
                  </div>
                </td>
                <td class="wide nowrap">
                  <StateOf account={account} />
                </td>
                <td class="wide roomy nowrap">{account.is_superuser ? s.admin.superuser : s.admin.user}</td>
                <td class="quo">
                  <Storage account={account} usage={usages.get(account.id) ?? null} />
                </td>
                <td class="wide nowrap">{fmt.day(new Date(account.created_at))}</td>
                <td class="act">
                  <MenuButton class="btn quiet small icon" label={t.files.moreActions(account.email)} items={menu(account)}>
                    <Icon name="more" size="s" />
                  </MenuButton>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {next !== null && people !== null && (
        <div class="more">
          <button type="button" class="btn" onClick={() => void load(next, search.trim())}>
            {t.states.showMore}
          </button>
        </div>
      )}
    </section>
  );
}

function StateOf({ account }: { readonly account: User }) {
  return (
    <Badge tone={account.is_active ? "ok" : "bad"} icon={account.is_active ? "check" : "x"}>
      {account.is_active ? s.admin.active : s.admin.inactive}
    </Badge>
  );
}

function Storage({ account, usage }: { readonly account: User; readonly usage: Usage | null }) {
  if (usage === null) return <span class="skel" />;
  return (
    <>
      <span class="row between sm">
        <span class="strong nowrap">{fmt.bytes(usage.bytes_used)}</span>
        <span class="muted desk-only nowrap">{s.admin.ofQuota(fmt.bytes(usage.quota_bytes))}</span>
      </span>
      <progress
        class={usage.bytes_used > usage.quota_bytes * 0.9 ? "warn" : ""}
        value={Math.min(usage.bytes_used, usage.quota_bytes)}
        max={Math.max(1, usage.quota_bytes)}
        aria-label={`${account.email}: ${fmt.bytesOf(usage.bytes_used, usage.quota_bytes)}`}
      />
    </>
  );
}
