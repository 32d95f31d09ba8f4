/** For superusers: figures of the whole service, accounts and quotas, all files, the audit log. */

import { AllFiles } from "../admin/all-files";
import { AuditLog } from "../admin/audit-log";
import { Overview } from "../admin/overview";
import { People } from "../admin/people";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { location, navigate } from "../core/router";
import { user } from "../core/session";
import { Empty } from "../ui/controls";

const TABS = ["overview", "people", "files", "audit"] as const;
type Tab = (typeof TABS)[number];

export function AdminScreen() {
  const wanted = location.value.query.get("tab");
  const tab: Tab = TABS.find((known) => known === wanted) ?? "overview";
  if (!user.value?.is_superuser) return <Empty title={s.admin.forbidden} />;
  return (
    <>
      <div class="head">
        <h1>{t.nav.admin}</h1>
      </div>
      <div class="filters">
        <div class="seg" role="group" aria-label={t.nav.admin}>
          {TABS.map((choice) => (
            <button type="button" key={choice} aria-pressed={choice === tab} onClick={() => navigate(choice === "overview" ? "/admin" : `/admin?tab=${choice}`)}>
              {s.admin.tabs[choice]}
            </button>
          ))}
        </div>
      </div>
      {tab === "overview" ? <Overview /> : tab === "people" ? <People /> : tab === "files" ? <AllFiles /> : <AuditLog />}
    </>
  );
}
