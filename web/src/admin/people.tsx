/** Accounts: state, role, storage. */

import type { Usage, User, UserUpdate } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { navigate } from "../core/router";
import { serverConfig } from "../core/server-config";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { Avatar, Badge, Empty } from "../ui/controls";
import { actionsColumn, DataTable, Loaded, ShowMore, type Column } from "../ui/data-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";
import { showAccess } from "./account-access";
import { AddressDialog, DeletionDialog, FactorDialog, PasswordDialog, RoleDialog, TransferDialog } from "./account-dialogs";
import { invite, showInvitations } from "./invitations";
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
  const newest = useRef(0);

  async function load(cursor: string | null, text: string): Promise<void> {
    const request = ++newest.current;
    setError(null);
    try {
      const { items, nextCursor } = await accounts.admin.users({
        limit: PEOPLE_STEP,
        ...(cursor === null ? {} : { cursor }),
        ...(text === "" ? {} : { search: text }),
      });
      // A slow answer must not replace the result of a later search.
      if (request !== newest.current) return;
      setPeople((before) => (cursor === null ? items : [...(before ?? []), ...items]));
      setNext(nextCursor);
      for (const account of items) {
        const usage = await accounts.admin.usage(account.id);
        setUsages((before) => new Map(before).set(account.id, usage));
      }
    } catch (cause) {
      if (request === newest.current) setError(cause);
    }
  }
  useEffect(() => void load(null, ""), []);
  const replace = (account: User) => setPeople((before) => before?.map((other) => (other.id === account.id ? account : other)) ?? null);
  const readUsage = (account: User) => accounts.admin.usage(account.id).then((usage) => setUsages((before) => new Map(before).set(account.id, usage)), showProblem);
  const update = async (account: User, changes: UserUpdate, text: string) => {
    try {
      replace(await accounts.admin.updateUser(account.id, changes));
      showToast(text, { icon: "user" });
    } catch (cause) {
      showProblem(cause);
    }
  };
  const openDialog = (Dialog: typeof RoleDialog, account: User) => showDialog((close) => <Dialog account={account} onClose={close} onSaved={replace} />);
  const changes = (account: User): readonly MenuItem[] => [
    { label: s.admin.changeEmail, icon: "mail", run: () => openDialog(AddressDialog, account) },
    ...(account.email_verified
      ? []
      : ([{ label: s.admin.confirmEmail, icon: "check", run: () => void update(account, { email_verified: true }, s.admin.emailConfirmed(account.email)) }] as const)),
    { label: s.admin.setPassword, icon: "key", run: () => openDialog(PasswordDialog, account) },
    { label: account.is_superuser ? s.admin.demote : s.admin.promote, icon: "shield", run: () => openDialog(RoleDialog, account) },
    { label: account.requires_second_factor ? s.leaving.factorOptional : s.leaving.requireFactor, icon: "shield", run: () => openDialog(FactorDialog, account) },
    { label: s.leaving.transfer.start, icon: "files", run: () => openDialog(TransferDialog, account) },
    ...(account.deletion_at === null ? ([{ label: s.settings.deleteAccount, icon: "trash", isDangerous: true, run: () => openDialog(DeletionDialog, account) }] as const) : []),
    account.is_active
      ? { label: s.admin.disable, icon: "x", isDangerous: true, run: () => confirmDisable(account) }
      : { label: s.admin.enable, icon: "check", run: () => void update(account, { is_active: true }, s.admin.enabled(account.email)) },
  ];
  const menu = (account: User): readonly MenuItem[] => [
    { label: s.admin.showFiles, icon: "files", run: () => navigate(`/admin?tab=files&owner=${account.id}`) },
    {
      label: s.admin.changeQuota,
      icon: "chart",
      run: () => showDialog((close) => <QuotaDialog account={account} usage={usages.get(account.id) ?? null} onClose={close} onSaved={() => void readUsage(account)} />),
    },
    { label: s.leaving.access, icon: "key", run: () => showAccess(account) },
    { label: s.admin.showAudit, icon: "list", run: () => navigate(`/admin?tab=audit&actor=${account.id}`) },
    { label: s.admin.endSessions, icon: "out", run: () => void accounts.admin.endSessions(account.id).then(() => showToast(s.admin.sessionsEnded, { icon: "out" }), showProblem) },
    // Changes of the own account are in the settings.
    ...(account.id === user.value?.id ? [] : changes(account)),
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
  const columns: readonly Column<User>[] = [
    { head: s.settings.name, class: "name", cell: (account) => <AccountName account={account} /> },
    { head: s.links.state, class: "wide nowrap", cell: (account) => <StateOf account={account} /> },
    { head: s.admin.role, class: "wide roomy nowrap", cell: (account) => (account.is_superuser ? s.admin.superuser : s.admin.user) },
    { head: s.admin.storage, class: "quo", cell: (account) => <Storage account={account} usage={usages.get(account.id) ?? null} /> },
    { head: s.admin.since, class: "wide nowrap", cell: (account) => fmt.day(new Date(account.created_at)) },
    actionsColumn((account) => account.email, menu),
  ];
  return (
    <section class="card">
      <div class="pad row between tight wrap">
        <h2>{s.admin.tabs.people}</h2>
        <div class="search find">
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
        {serverConfig.value?.mail_available !== false && (
          <div class="row">
            <button type="button" class="btn small" onClick={showInvitations}>
              {s.leaving.invitations}
            </button>
            <button type="button" class="btn small" onClick={invite}>
              <Icon name="plus" size="s" />
              <span>{s.leaving.invite}</span>
            </button>
          </div>
        )}
      </div>
      <Loaded value={people} error={error} onRetry={() => void load(null, search.trim())} skeletonCount={4}>
        {(known) => (known.length === 0 ? <Empty title={t.files.nothingFound} /> : <DataTable caption={s.admin.tabs.people} columns={columns} rows={known} keyOf={(account) => account.id} />)}
      </Loaded>
      {next !== null && people !== null && <ShowMore onClick={() => void load(next, search.trim())} />}
    </section>
  );
}

function AccountName({ account }: { readonly account: User }) {
  return (
    <div class="row g3">
      <Avatar name={account.display_name || account.email} />
      <div class="grow">
        {account.display_name && <span class="two strong-two">{account.display_name}</span>}
        <span class={account.display_name ? "two" : "two strong-two"}>{account.email}</span>
        {!(account.is_active && account.email_verified) && (
          <span class="meta st">
            <StateOf account={account} />
          </span>
        )}
      </div>
    </div>
  );
}

function StateOf({ account }: { readonly account: User }) {
  if (!account.is_active) {
    return (
      <Badge tone="bad" icon="x">
        {s.admin.inactive}
      </Badge>
    );
  }
  return (
    <Badge tone={account.email_verified ? "ok" : "warn"} icon={account.email_verified ? "check" : "mail"}>
      {account.email_verified ? s.admin.active : s.admin.unconfirmed}
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
