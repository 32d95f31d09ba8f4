/** The account's share links: state, counts, change, revoke. */

import type { Share } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { location, navigate, setQuery } from "../core/router";
import { showToast } from "../core/toasts";
import { editLink } from "../files/open-dialogs";
import { SkeletonRows } from "../files/file-table";
import { linkState, type LinkState } from "../links/link-state";
import { isOpen, links, linksError, loadLinks } from "../links/link-store";
import { Badge, Empty, ErrorNote, type Tone } from "../ui/controls";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import type { IconName } from "../ui/icon-paths";
import { MenuButton, type MenuItem } from "../ui/menu";
import { fileList } from "./files-screen";
import { revokeLink } from "./share-dialog";

type Filter = "all" | "open" | "closed";

const STEP = 50;

export function LinksScreen() {
  const [shown, setShown] = useState(STEP);
  useEffect(() => {
    void loadLinks();
  }, []);
  const all = links.value;
  const value = location.value.query.get("state");
  const filter: Filter = value === "open" || value === "closed" ? value : "all";
  const open = all?.filter(isOpen) ?? [];
  const chosen = all === null ? [] : filter === "all" ? all : filter === "open" ? open : all.filter((link) => !isOpen(link));
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
      {linksError.value !== null && all === null ? (
        <ErrorNote error={linksError.value} onRetry={() => void loadLinks()} />
      ) : all === null ? (
        <SkeletonRows count={6} />
      ) : all.length === 0 ? (
        <Empty title={s.links.none}>
          <p class="soft">{s.links.noneText}</p>
        </Empty>
      ) : (
        <>
          <div class="filters">
            <div class="seg" role="group" aria-label={s.links.state}>
              {(["all", "open", "closed"] as const).map((choice) => (
                <button type="button" key={choice} aria-pressed={choice === filter} onClick={() => setQuery({ state: choice === "all" ? null : choice })}>
                  {s.links.filters[choice]} {fmt.number(choice === "all" ? all.length : choice === "open" ? open.length : all.length - open.length)}
                </button>
              ))}
            </div>
          </div>
          {chosen.length === 0 ? <Empty title={s.links.noneOfThese} /> : <LinkTable chosen={chosen.slice(0, shown)} />}
          {chosen.length > shown && (
            <div class="more">
              <button type="button" class="btn" onClick={() => setShown(shown + STEP)}>
                {t.states.showMore}
              </button>
            </div>
          )}
          {chosen.some((link) => link.url === null) && <p class="hint after">{s.links.shownOnce}</p>}
        </>
      )}
    </>
  );
}

function LinkTable({ chosen }: { readonly chosen: readonly Share[] }) {
  return (
    <div class="card">
      <table class="table inset tall">
        <caption class="sr">{s.links.caption}</caption>
        <thead>
          <tr>
            <th class="name" scope="col">
              {s.links.link}
            </th>
            <th class="wide" scope="col">
              {s.links.state}
            </th>
            <th class="wide roomy" scope="col">
              {s.share.who}
            </th>
            <th class="num wide roomy" scope="col">
              {s.links.opened}
            </th>
            <th class="num wide" scope="col">
              {s.links.downloads}
            </th>
            <th class="wide" scope="col">
              {s.share.closes}
            </th>
            <th class="act">
              <span class="sr">{t.files.actions}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {chosen.map((link) => (
            <LinkRow key={link.id} link={link} />
          ))}
        </tbody>
      </table>
    </div>
  );
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

function closesOf(link: Share, state: LinkState): string {
  if (link.revoked_at !== null) return s.links.byYou(fmt.shortDay(new Date(link.revoked_at)));
  if (link.expires_at === null) return s.links.never;
  return state === "expired" ? fmt.day(new Date(link.expires_at)) : fmt.inDays(new Date(link.expires_at));
}

function audienceOf(link: Share): string {
  const who = link.audience === "named" ? s.links.namedPeople(link.recipients.length) : s.links.audiences[link.audience];
  return link.has_password ? `${who} · ${s.links.password}` : who;
}

/** Names of files that are not in the list, by their ids. */
const fileNames = signal<ReadonlyMap<string, string>>(new Map());
const asked = new Set<string>();

/** Return the name of a file, and read it if it is not known yet. */
function nameOf(fileId: string): string | null {
  const listed = fileList.items.value.find((file) => file.id === fileId);
  return listed?.filename ?? fileNames.value.get(fileId) ?? null;
}

function readName(fileId: string): void {
  if (nameOf(fileId) !== null || asked.has(fileId)) return;
  asked.add(fileId);
  const keep = (name: string) => {
    fileNames.value = new Map(fileNames.value).set(fileId, name);
  };
  api.files.get(fileId).then(
    (file) => keep(file.filename),
    () => keep(s.links.fileGone),
  );
}

function LinkRow({ link }: { readonly link: Share }) {
  const state = linkState(link);
  const [firstFile = ""] = link.file_ids;
  useEffect(() => readName(firstFile), [firstFile]);
  const name = link.slug ?? nameOf(firstFile) ?? "…";
  const address = link.url === null ? (link.slug === null ? null : `/s/${link.slug}`) : new URL(link.url, window.location.href).pathname;
  const menu = (): readonly MenuItem[] => [
    ...(link.url === null ? [] : [{ label: s.links.copy, icon: "copy", run: () => void copyAddress(link.url ?? "") } as const]),
    ...(state === "revoked"
      ? []
      : ([
          { label: s.links.change, icon: "gear", run: () => editLink(link) },
          { label: s.share.revoke, icon: "trash", isDangerous: true, run: () => revokeLink(link, () => {}) },
        ] as const)),
  ];
  return (
    <tr>
      <td class="name">
        {state === "revoked" ? (
          <FileName name={name} />
        ) : (
          <button type="button" class="open" onClick={() => editLink(link)}>
            <FileName name={name} />
          </button>
        )}
        <span class="two">
          {s.links.fileCount(link.file_ids.length)}
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
          <span>{closesOf(link, state)}</span>
        </span>
      </td>
      <td class="wide">
        <StateBadge state={state} />
      </td>
      <td class="wide roomy nowrap">{audienceOf(link)}</td>
      <td class="num wide roomy">{fmt.number(link.open_count)}</td>
      <td class="num wide">{downloadsOf(link)}</td>
      <td class="wide nowrap">{closesOf(link, state)}</td>
      <td class="act">
        {(state !== "revoked" || link.url !== null) && (
          <MenuButton class="btn quiet small icon" label={t.files.moreActions(name)} items={menu}>
            <Icon name="more" size="s" />
          </MenuButton>
        )}
      </td>
    </tr>
  );
}

async function copyAddress(url: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(url);
    showToast(t.copy.announced);
  } catch {
    showToast(t.copy.failed, { isError: true });
  }
}
