/** Taking the own data along: an export of the account, and handing all files over to another account. */

import type { AccountExport, Transfer } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { refreshUsage, user } from "../core/session";
import { showToast } from "../core/toasts";
import { Badge, Field } from "../ui/controls";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, textOf } from "../ui/form-dialog";
import { CurrentPassword, OneTimeCode, ownCredentials } from "./own-credentials";
import { Section } from "./section";

const POLL_MS = 3000;

function OwnPassword({ isFirst = false }: { readonly isFirst?: boolean }) {
  return (
    <>
      <CurrentPassword isFirst={isFirst} />
      <OneTimeCode />
    </>
  );
}

function ExportCard() {
  const [state, setState] = useState<AccountExport | null>(null);
  const isRunning = state?.status === "queued" || state?.status === "building";
  const read = () => accounts.exportState().then(({ export: found }) => setState(found), showProblem);
  useEffect(() => void read(), []);
  useEffect(() => {
    if (!isRunning) return;
    const timer = setTimeout(() => void read(), POLL_MS);
    return () => clearTimeout(timer);
  }, [state]);
  const ask = () =>
    showDialog((close) => (
      <FormDialog
        title={s.leaving.export.start}
        subtitle={s.leaving.export.text}
        submit={s.leaving.export.start}
        act={async (fields) => setState(await accounts.requestExport(ownCredentials(fields)))}
        onClose={close}
      >
        <OwnPassword isFirst />
      </FormDialog>
    ));
  async function download(): Promise<void> {
    try {
      // The address is valid for minutes only.
      const { export: fresh } = await accounts.exportState();
      setState(fresh);
      if (fresh?.download_url) window.location.assign(fresh.download_url);
    } catch (cause) {
      showProblem(cause);
    }
  }
  return (
    <div class="card pad stack">
      <h3>{s.leaving.export.title}</h3>
      <p class="soft">{s.leaving.export.text}</p>
      <div role="status">
        {isRunning && <p>{s.leaving.export.running}</p>}
        {state?.status === "ready" && state.expires_at !== null && <p>{s.leaving.export.ready(fmt.bytes(state.size_bytes), fmt.moment(new Date(state.expires_at)))}</p>}
        {state?.status === "failed" && <p>{s.leaving.export.failed}</p>}
      </div>
      <div class="row wrap">
        {state?.status === "ready" ? (
          <button type="button" class="btn" onClick={() => void download()}>
            {s.leaving.export.download}
          </button>
        ) : (
          !isRunning && (
            <button type="button" class="btn" onClick={ask}>
              {s.leaving.export.start}
            </button>
          )
        )}
      </div>
    </div>
  );
}

function TransferCard() {
  const [transfers, setTransfers] = useState<readonly Transfer[]>([]);
  const read = () => accounts.transfers.list().then(({ items }) => setTransfers(items), showProblem);
  useEffect(() => void read(), []);
  const me = user.value?.id;
  const offer = () =>
    showDialog((close) => (
      <FormDialog
        title={s.leaving.transfer.start}
        subtitle={s.leaving.transfer.text}
        submit={s.leaving.transfer.start}
        act={async (fields) => {
          if (me !== undefined) await accounts.transfers.offer(me, { email: textOf(fields, "email"), ...ownCredentials(fields) });
          await read();
        }}
        onClose={close}
      >
        <Field label={s.leaving.transfer.recipient} type="email" name="email" autoComplete="off" required maxLength={254} autoFocus />
        <OwnPassword />
      </FormDialog>
    ));
  async function change(act: Promise<unknown>, text: string): Promise<void> {
    try {
      await act;
      showToast(text, { icon: "files" });
    } catch (cause) {
      showProblem(cause);
    }
    await read();
    await refreshUsage();
  }
  const open = transfers.filter((transfer) => transfer.status === "requested" || transfer.status === "moving");
  return (
    <div class="card pad stack">
      <h3>{s.leaving.transfer.title}</h3>
      <p class="soft">{s.leaving.transfer.text}</p>
      {open.map((transfer) => {
        const isIncoming = transfer.to_id === me;
        return (
          <div class="row wrap between" key={transfer.id}>
            <span class="grow offer">
              <span class="strong wrapit">{isIncoming ? s.leaving.transfer.from(transfer.from_email) : s.leaving.transfer.to(transfer.to_email)}</span>
              <span class="two wrapit">{s.leaving.transfer.amount(transfer.left_files ?? 0, fmt.bytes(transfer.left_bytes ?? 0))}</span>
            </span>
            {transfer.status === "moving" && <Badge tone={transfer.is_blocked ? "warn" : "plain"} icon="clock">{transfer.is_blocked ? s.leaving.transfer.blocked : s.leaving.transfer.moving}</Badge>}
            {isIncoming && (
              <button type="button" class="btn small" onClick={() => void change(accounts.transfers.accept(transfer.id), s.leaving.transfer.accepted)}>
                {transfer.status === "moving" ? t.actions.retry : s.leaving.transfer.accept}
              </button>
            )}
            {transfer.status === "requested" && (
              <button
                type="button"
                class="btn quiet small danger"
                onClick={() => void change(isIncoming ? accounts.transfers.decline(transfer.id) : accounts.transfers.withdraw(transfer.id), s.leaving.transfer.ended)}
              >
                {isIncoming ? s.leaving.transfer.decline : s.leaving.withdraw}
              </button>
            )}
          </div>
        );
      })}
      <div class="row wrap">
        <button type="button" class="btn" onClick={offer}>
          {s.leaving.transfer.start}
        </button>
      </div>
    </div>
  );
}

export function OwnData() {
  return (
    <Section id="data">
      <ExportCard />
      <TransferCard />
    </Section>
  );
}
