/** The frame of the signed-in app: side bar, top bar, tab bar, the sheet behind "More". */

import type { ComponentChildren } from "preact";
import { links, isOpen } from "./links/link-store";
import { BRAND_NAME } from "./core/brand";
import { fmt, t } from "./core/language";
import { useKeys } from "./core/keys";
import { loadScreens } from "./core/lazy";
import { showProblem } from "./core/problems";
import { location, navigate, type AppPath } from "./core/router";
import { signOut, usage, user } from "./core/session";
import { zipStatus } from "./files/file-actions";
import { Avatar } from "./ui/controls";
import { showDialog } from "./ui/dialog-host";
import { Icon, Mark } from "./ui/icon";
import type { IconName } from "./ui/icon-paths";
import { MenuButton, type MenuItem } from "./ui/menu";
import { DropZone } from "./uploads/drop-zone";
import { chooseFiles, chooseFolder, trayView } from "./uploads/upload-store";

interface Place {
  readonly path: AppPath;
  readonly icon: IconName;
  readonly label: string;
  readonly count?: number | null;
}

export function mainPlaces(): readonly Place[] {
  const stored = usage.value;
  return [
    { path: "/files", icon: "files", label: t.nav.files, count: stored === null ? null : stored.files_count - stored.trash_files },
    { path: "/shared", icon: "users", label: t.nav.shared },
    { path: "/links", icon: "link", label: t.nav.links, count: links.value?.filter(isOpen).length ?? null },
    { path: "/requests", icon: "inbox", label: t.nav.requests },
    { path: "/trash", icon: "trash", label: t.nav.trash, count: stored?.trash_files || null },
  ];
}

export function accountPlaces(): readonly Place[] {
  return [
    ...(user.value?.is_superuser ? [{ path: "/admin", icon: "chart", label: t.nav.admin } as const] : []),
    { path: "/settings", icon: "gear", label: t.nav.settings },
  ];
}

export function PlaceLink({ place }: { readonly place: Place }) {
  return (
    <a href={place.path.slice(1)} aria-current={location.value.path === place.path ? "page" : undefined}>
      <Icon name={place.icon} />
      <span>{place.label}</span>
      {typeof place.count === "number" && <span class="count">{fmt.number(place.count)}</span>}
    </a>
  );
}

function Brand() {
  return (
    <a class="brand" href="files" aria-label={BRAND_NAME}>
      <Mark />
      <span class="word">{BRAND_NAME}</span>
    </a>
  );
}

export function QuotaMeter() {
  const stored = usage.value;
  if (stored === null) return null;
  const isNearlyFull = stored.bytes_used > stored.quota_bytes * 0.9;
  const text = fmt.bytesOf(stored.bytes_used, stored.quota_bytes);
  return (
    <div class="quota">
      <div class="row between sm">
        <span class="strong">{text}</span>
        <span class="muted">{fmt.percent(stored.bytes_used, stored.quota_bytes)}</span>
      </div>
      <progress class={isNearlyFull ? "warn" : ""} value={Math.min(stored.bytes_used, stored.quota_bytes)} max={Math.max(1, stored.quota_bytes)} aria-label={t.quota.label(text)} />
      <span class={isNearlyFull ? "tone-warn xs" : "muted xs"}>
        {isNearlyFull ? t.quota.left(fmt.bytes(stored.bytes_left), stored.trash_bytes > 0) : stored.trash_bytes > 0 ? t.quota.trash(fmt.bytes(stored.trash_bytes)) : stored.files_count === 0 ? t.quota.empty : t.quota.files(stored.files_count)}
      </span>
    </div>
  );
}

function accountMenu(): readonly MenuItem[] {
  return [
    { label: t.nav.settings, icon: "gear", run: () => navigate("/settings") },
    { label: t.keys.title, icon: "info", shortcut: "?", run: showKeys },
    { label: t.nav.signOut, icon: "out", run: () => void signOut() },
  ];
}

export function Shell({ children }: { readonly children: ComponentChildren }) {
  const email = user.value?.email ?? "";
  const Tray = trayView.value;
  useKeys(
    {
      u: chooseFiles,
      "?": showKeys,
      "g f": () => navigate("/files"),
      "g l": () => navigate("/links"),
      "g r": () => navigate("/requests"),
      "g s": () => navigate("/settings"),
      "g t": () => navigate("/trash"),
      "/": () => navigate("/files"),
      n: () => navigate("/links"),
    },
    "app",
  );
  return (
    <>
      <a class="skip" href="#main">
        {t.nav.skip}
      </a>
      <div class="shell">
        <aside class="side">
          <Brand />
          <UploadButton />
          <nav class="nav" aria-label={t.nav.main}>
            {mainPlaces().map((place) => (
              <PlaceLink key={place.path} place={place} />
            ))}
          </nav>
          <nav class="nav end-nav" aria-label={t.nav.account}>
            {accountPlaces().map((place) => (
              <PlaceLink key={place.path} place={place} />
            ))}
          </nav>
          <div class="grow" />
          <QuotaMeter />
          <MenuButton class="me" label={email} isLabelShown items={accountMenu}>
            <Avatar name={user.value?.display_name || email} />
            <span class="grow">
              {user.value?.display_name && <span class="two strong-two">{user.value.display_name}</span>}
              <span class="two">{email}</span>
            </span>
            <Icon name="down" size="s" />
          </MenuButton>
        </aside>
        <div>
          <header class="topbar">
            <Brand />
            <span class="grow" />
            <MenuButton class="btn quiet icon" label={t.nav.accountOf(email)} items={accountMenu}>
              <Icon name="user" />
            </MenuButton>
          </header>
          <main class="main" id="main" tabIndex={-1}>
            {children}
          </main>
        </div>
        <TabBar />
      </div>
      <div class="corner">
        {zipStatus.value}
        {Tray !== null && <Tray />}
      </div>
      <DropZone />
    </>
  );
}

function UploadButton() {
  return (
    <div class="split">
      <button type="button" class="btn primary grow" onClick={chooseFiles}>
        <Icon name="upload" />
        <span>{t.uploads.upload}</span>
      </button>
      <MenuButton
        class="btn primary icon"
        label={t.uploads.moreWays}
        items={() => [
          { label: t.uploads.chooseFiles, icon: "file", shortcut: "U", run: chooseFiles },
          { label: t.uploads.chooseFolder, icon: "files", run: chooseFolder },
        ]}
      >
        <Icon name="down" size="s" />
      </MenuButton>
    </div>
  );
}

function TabBar() {
  const places = mainPlaces();
  const tab = (place: Place | undefined) => place && <PlaceLink place={{ path: place.path, icon: place.icon, label: place.label }} />;
  const isMore = !["/files", "/links", "/requests"].includes(location.value.path);
  return (
    <nav class="tabs" aria-label={t.nav.main}>
      {tab(places[0])}
      {tab(places[2])}
      <button type="button" class="up" aria-label={t.uploads.upload} onClick={chooseFiles}>
        <span>
          <Icon name="plus" />
        </span>
      </button>
      {tab(places[3])}
      <button type="button" aria-haspopup="dialog" aria-current={isMore ? "page" : undefined} onClick={showMore}>
        <Icon name="more" />
        <span>{t.nav.more}</span>
      </button>
    </nav>
  );
}

function showMore(): void {
  loadScreens().then(({ MoreSheet }) => showDialog((close) => <MoreSheet onClose={close} />), showProblem);
}

function showKeys(): void {
  loadScreens().then(({ KeysDialog }) => showDialog((close) => <KeysDialog onClose={close} />), showProblem);
}
