/** People who have access to files by name, without a link. */

import type { FileInfo, Grant } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { api } from "../core/api";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { serverConfig } from "../core/server-config";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { PendingInvitations } from "../admin/invitations";
import { Avatar, FieldError, IconButton } from "../ui/controls";
import { Select } from "../ui/form-dialog";

type Role = Grant["role"];

export function PeopleWithAccess({ files }: { readonly files: readonly FileInfo[] }) {
  const [grants, setGrants] = useState<readonly Grant[]>([]);
  const [email, setEmail] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [sent, setSent] = useState(0);
  const invites = serverConfig.value?.invitations_by_users ?? false;
  const [only] = files;
  const isOne = files.length === 1 && only !== undefined;
  useEffect(() => {
    if (isOne) api.grants.list(only.id).then(setGrants, showProblem);
  }, [only?.id]);
  const keep = (grant: Grant) => setGrants((before) => [...before.filter((other) => other.user_id !== grant.user_id), grant]);

  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (email.trim() === "" || isBusy) return;
    setBusy(true);
    setError(null);
    try {
      const address = email.trim();
      if (invites) {
        // Not a grant where there is an account: that would tell whether there is one.
        for (const file of files) await accounts.invitations.sendForFile(file.id, { email: address, role: "viewer" });
        showToast(s.leaving.invited(address), { icon: "mail" });
        setSent((count) => count + 1);
      } else {
        for (const file of files) keep(await api.grants.put(file.id, { email: address, role: "viewer" }));
      }
      setEmail("");
    } catch (cause) {
      setError(problemText(cause));
    } finally {
      setBusy(false);
    }
  }

  async function setRole(grant: Grant, role: Role): Promise<void> {
    keep({ ...grant, role });
    try {
      for (const file of files) await api.grants.put(file.id, { user_id: grant.user_id, role });
    } catch (cause) {
      keep(grant);
      showProblem(cause);
    }
  }

  async function remove(grant: Grant): Promise<void> {
    setGrants((before) => before.filter((other) => other.user_id !== grant.user_id));
    try {
      for (const file of files) await api.grants.revoke(file.id, grant.user_id);
    } catch (cause) {
      keep(grant);
      showProblem(cause);
    }
  }

  return (
    <div class="stack g2">
      <h3>{s.people.title}</h3>
      <p class="hint">{isOne ? s.people.hint : s.people.hintMany(files.length)}</p>
      {isOne && user.value && (
        <div class="person">
          <Avatar name={user.value.display_name || user.value.email} />
          <span class="grow two strong-two">{user.value.email}</span>
          <span class="muted sm">{s.people.owner}</span>
        </div>
      )}
      {grants.map((grant) => {
        const name = grant.email ?? s.people.unnamed;
        return (
          <div class="person" key={grant.user_id}>
            <Avatar name={name} />
            <span class="grow two strong-two" title={name}>
              {name}
            </span>
            <Select
              class="role"
              label={s.people.roleOf(name)}
              value={grant.role}
              options={[
                ["viewer", s.people.viewer],
                ["editor", s.people.editor],
              ]}
              onChange={(role) => void setRole(grant, role as Role)}
            />
            <IconButton icon="x" label={s.people.remove(name)} isSmall onClick={() => void remove(grant)} />
          </div>
        );
      })}
      <form class="row" onSubmit={(event) => void add(event)}>
        <input
          class="input"
          type="email"
          aria-label={s.people.add}
          placeholder={s.people.placeholder}
          value={email}
          maxLength={254}
          aria-invalid={error !== null}
          onInput={(event) => setEmail(event.currentTarget.value)}
        />
        <button type="submit" class="btn" aria-busy={isBusy}>
          {s.people.addShort}
        </button>
      </form>
      {error !== null && <FieldError text={error} />}
      {invites && isOne && <PendingInvitations key={sent} filters={{ file_id: only.id }} emptyText="" />}
    </div>
  );
}
