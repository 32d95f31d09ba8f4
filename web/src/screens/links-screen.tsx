/** The account's share links: state, counts, change, revoke. */

import type { Share } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { location, navigate, setQuery } from "../core/router";
import { showToast } from "../core/toasts";
import { editLink } from "../files/open-dialogs";
import { linkName } from "../links/link-name";
import { linkState, type LinkState } from "../links/link-state";
import { isOpen, links, linksError, loadLinks } from "../links/link-store";
import { showLinkReceipts } from "../receipts/receipt-dialogs";
import { copyAddress, openAddress } from "../sharing/link-address";
import { Badge, Empty, type Tone } from "../ui/controls";
import { actionsColumn, DataTable, Loaded, ShowMore, type Column } from "../ui/data-table";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import type { IconName } from "../ui/icon-paths";
import type { MenuItem } from "../ui/menu";
import { revokeLink, rotateLink } from "./share-dialog";

type Filter = "all" | "open" | "closed";

const STEP = 50;

export function LinksScreen() {
  const [shown, setShown] = useState(STEP);
  const [search, setSearch] = useState("");
  useEffect(() => {
    void loadLinks();
  }, []);
  const all = links.value;
  const value = location.value.query.get("state");
  const filter: Filter = value === "open" || value === "closed" ? value : "all";
  const open = all?.filter(isOpen) ?? [];
  const inState = all === null ? [] : filter === "all" ? all : filter === "open" ? open : all.filter((link) => !isOpen(link));
  const chosen = inState.filter((link) => hasText(link, search));
  const newLink = () => {
    navigate("/files");
    showToast(s.links.selectFiles, { icon: "link" });
  };
  return (
    <>
      <div class="head">
        <h1>{t.nav.links}</h1>
        {all !== null && all.length > 0 && <span class="muted">{s.links.summary(open.length, all.length - open.length)}</span>}
        <span class="grow" />
        <button type="button" class="btn primary" onClick={newLink}>
          <Icon name="plus" />
          <span>{s.links.create}</span>
        </button>
      </div>
      <Loaded value={all} error={linksError.value} onRetry={() => void loadLinks()} skeletonCount={6}>
        {(known) =>
          known.length === 0 ? (
            <Empty title={s.links.none}>
              <p class="soft">{s.links.noneText}</p>
            </Empty>
          ) : (
            <>
              <div class="filters">
                <div class="seg" role="group" aria-label={s.links.state}>
                  {(["all", "open", "closed"] as const).map((choice) => (
                    <button type="button" key={choice} aria-pressed={choice === filter} onClick={() => setQuery({ state: choice === "all" ? null : choice })}>
                      {s.links.filters[choice]} {fmt.number(choice === "all" ? known.length : choice === "open" ? open.length : known.length - open.length)}
                    </button>
                  ))}
                </div>
                <div class="search find">
                  <Icon name="search" />
                  <input
                    class="input"
                    type="search"
                    aria-label={s.linkFiles.search}
                    placeholder={s.linkFiles.search}
                    value={search}
                    maxLength={200}
                    onInput={(event) => setSearch(event.currentTarget.value)}
                  />
                </div>
              </div>
              {chosen.length === 0 ? (
                <Empty title={s.links.noneOfThese} />
              ) : (
                <div class="card">
                  <DataTable caption={s.links.caption} class="inset tall" columns={columns()} rows={chosen.slice(0, shown)} keyOf={(link) => link.id} />
                </div>
              )}
              {chosen.length > shown && <ShowMore onClick={() => setShown(shown + STEP)} />}
              {chosen.some(lacksAddress) && <p class="hint after">{s.links.addressLost}</p>}
            </>
          )
        }
      </Loaded>
    </>
  );
}

/** Whether the title, the address or one of the first names has the text. */
function hasText(link: Share, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  return [link.title ?? "", link.slug ?? "", ...link.first_filenames].some((part) => part.toLowerCase().includes(wanted));
}

function columns(): readonly Column<Share>[] {
  return [
    { head: s.links.link, class: "name", cell: (link) => <LinkName link={link} /> },
    { head: s.links.state, class: "wide", cell: (link) => <StateBadge state={linkState(link)} /> },
    { head: s.share.who, class: "wide roomy nowrap", cell: audienceOf },
    { head: s.links.opened, class: "num wide roomy", cell: (link) => fmt.number(link.open_count) },
    { head: s.links.downloads, class: "num wide", cell: downloadsOf },
    { head: s.share.closes, class: "wide nowrap", cell: closesOf },
    actionsColumn(linkName, menu),
  ];
}

/** Whether the link is open to change, but the server cannot tell its address any more. */
function lacksAddress(link: Share): boolean {
  return link.url === null && link.revoked_at === null;
}

function menu(link: Share): readonly MenuItem[] {
  const { url } = link;
  const receipts: readonly MenuItem[] =
    link.download_count === 0 ? [] : [{ label: s.receipts.linkTitle, icon: "shield", run: () => showLinkReceipts(link) }];
  if (link.revoked_at !== null) return receipts;
  return [
    ...(url === null
      ? []
      : ([
          { label: s.links.copy, icon: "copy", run: () => void copyAddress(url) },
          { label: t.actions.open, icon: "globe", run: () => openAddress(url) },
        ] as const)),
    { label: s.links.change, icon: "gear", run: () => editLink(link) },
    { label: s.links.rotate, icon: "retry", run: () => rotateLink(link, editLink) },
    ...receipts,
    { label: s.share.revoke, icon: "trash", isDangerous: true, run: () => revokeLink(link, () => {}) },
  ];
}

const BADGES: Readonly<Record<LinkState, readonly [Tone, IconName]>> = {
  open: ["ok", "check"],
  "closes-soon": ["warn", "clock"],
  "limit-reached": ["plain", "lock"],
  expired: ["plain", "clock"],
  revoked: ["bad", "x"],
};

function StateBadge({ state }: { readonly state: LinkState }) {
  const [tone, icon] = BADGES[state];
  return (
    <Badge tone={tone} icon={icon}>
      {s.links.states[state]}
    </Badge>
  );
}

function downloadsOf(link: Share): string {
  const count = fmt.number(link.download_count);
  return link.max_downloads === null ? count : t.format.of(count, fmt.number(link.max_downloads));
}

function closesOf(link: Share): string {
  if (link.revoked_at !== null) return s.links.byYou(fmt.shortDay(new Date(link.revoked_at)));
  if (link.expires_at === null) return s.links.never;
  return linkState(link) === "expired" ? fmt.day(new Date(link.expires_at)) : fmt.inDays(new Date(link.expires_at));
}

function audienceOf(link: Share): string {
  const who = link.audience === "named" ? s.links.namedPeople(link.recipients.length) : s.links.audiences[link.audience];
  return link.has_password ? `${who} · ${s.links.password}` : who;
}

function LinkName({ link }: { readonly link: Share }) {
  const state = linkState(link);
  const name = linkName(link);
  const address = link.url === null ? (link.slug === null ? null : `/s/${link.slug}`) : new URL(link.url, window.location.href).pathname;
  return (
    <>
      {state === "revoked" ? (
        <FileName name={name} />
      ) : (
        <button type="button" class="open" onClick={() => editLink(link)}>
          <FileName name={name} />
        </button>
      )}
      <span class="two">
        {s.links.fileCount(link.file_count)} · {fmt.bytes(link.size_bytes)}
        <span class="phone-in"> · {s.links.downloadsCount(downloadsOf(link), link.download_count)}</span>
        {address !== null && (
          <span class="desk-only">
            {" · "}
            <span class="mono">{address}</span>
          </span>
        )}
      </span>
      <span class="meta st">
        <StateBadge state={state} />
        <span>{isOpen(link) ? s.links.closes(closesOf(link)) : closesOf(link)}</span>
      </span>
    </>
  );
}
