/** The account's files: search, filters, list, selection. */

import type { FileInfo } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { fmt, t } from "../core/language";
import { useKeys } from "../core/keys";
import { location, navigate, setQuery } from "../core/router";
import { onSignOut, usage, user } from "../core/session";
import { runToastAction } from "../core/toasts";
import { deleteFiles, downloadFiles, setPublic } from "../files/file-actions";
import { createFileList } from "../files/file-list";
import { AGES, fileFilters, hasFilters, readFileQuery, SIZES, TYPES, type FileQuery } from "../files/file-query";
import { Filters, SortButton, sortedAs } from "../files/filters";
import { focusRow, sizeColumn, SkeletonRows, type FileColumn } from "../files/file-table";
import { FileView, ViewSwitch } from "../files/file-view";
import { openPreview, renameFile, shareFiles } from "../files/open-dialogs";
import { listKeys } from "../files/list-keys";
import { SelectionBar } from "../files/selection-bar";
import { links, loadLinks, openLinkCounts } from "../links/link-store";
import { Badge, Empty, ErrorNote } from "../ui/controls";
import { Icon } from "../ui/icon";
import { type MenuItem } from "../ui/menu";
import { chooseFiles, chooseFolder, onUploaded } from "../uploads/upload-store";

export const fileList = createFileList();
onSignOut(() => fileList.clear());

const SEARCH_DELAY_MS = 250;

export function FilesScreen() {
  const query = readFileQuery(location.value.query);
  const key = JSON.stringify(query);
  useEffect(() => {
    void fileList.load(fileFilters(query, new Date())).then(() => {
      if (links.value === null) void loadLinks();
    });
  }, [key]);
  useEffect(() => onUploaded((files) => fileList.prepend(files)), []);
  useListKeys();

  const files = fileList.items.value;
  const state = fileList.state.value;
  const isFiltered = hasFilters(query);
  const isEmpty = files.length === 0 && state === "ready";
  if (isEmpty && !isFiltered) return <NoFiles />;
  return (
    <>
      <div class="head">
        <h1>{t.nav.files}</h1>
        <span class="muted" role="status">
          {fileList.total.value !== null && (isFiltered ? t.files.found(fileList.total.value) : fmt.number(fileList.total.value))}
        </span>
        <SearchField value={query.search} />
        <ViewSwitch />
      </div>
      <Filters query={query} />
      {state === "failed" && files.length === 0 ? (
        <ErrorNote error={fileList.error.value} onRetry={() => void fileList.reload()} />
      ) : isEmpty ? (
        <Empty title={t.files.nothingFound}>
          <button type="button" class="btn" onClick={() => navigate("/files", { replace: true })}>
            {t.files.clearFilters}
          </button>
        </Empty>
      ) : files.length === 0 ? (
        <SkeletonRows count={8} />
      ) : (
        <FileView
          list={fileList}
          caption={t.files.caption(t.files.sorts[query.sort])}
          nameHead={<SortButton label={t.files.name} ascending="name" descending="-name" query={query} isAscendingFirst />}
          nameSorted={sortedAs(query, "name", "-name")}
          columns={columnsFor(query)}
          menu={fileMenu}
          onOpen={(file) => openPreview(fileList, file)}
        />
      )}
      <SelectionBar list={fileList}>
        <button type="button" class="btn quiet" onClick={() => shareFiles(fileList.selection.value)}>
          <Icon name="link" />
          <span>{t.actions.share}</span>
        </button>
        <button type="button" class="btn quiet" onClick={() => void downloadFiles(fileList.selection.value)}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
        <VisibilityButton files={fileList.selection.value} />
        <button type="button" class="btn quiet danger" onClick={() => void deleteFiles(fileList, fileList.selection.value)}>
          <Icon name="trash" />
          <span>{t.files.toTrash}</span>
        </button>
      </SelectionBar>
    </>
  );
}

/** Makes the selected files public; where all are, private. */
function VisibilityButton({ files }: { readonly files: readonly FileInfo[] }) {
  const isPublic = files.every((file) => file.is_public);
  return (
    <button type="button" class="btn quiet" onClick={() => void setPublic(fileList, files, !isPublic)}>
      <Icon name={isPublic ? "lock" : "globe"} />
      <span>{isPublic ? t.files.makePrivate : t.files.makePublic}</span>
    </button>
  );
}

function NoFiles() {
  const free = usage.value?.bytes_left;
  return (
    <>
      <div class="head">
        <h1>{t.nav.files}</h1>
      </div>
      <div class="drop">
        <Icon name="upload" size="l" />
        <h2 class="no-touch">{t.files.dropFirst}</h2>
        <h2 class="touch">{t.files.addFirst}</h2>
        <p class="soft">{free === undefined ? t.files.checked : t.files.anyType(fmt.bytes(free))}</p>
        <div class="row wrap">
          <button type="button" class="btn primary" onClick={chooseFiles}>
            <Icon name="upload" />
            <span>{t.uploads.chooseFiles}</span>
          </button>
          <button type="button" class="btn no-touch" onClick={chooseFolder}>
            {t.uploads.chooseFolder}
          </button>
        </div>
      </div>
      <div class="empty">
        <p class="muted">{t.files.waitingForOthers}</p>
        <a class="btn" href="requests?new=1">
          <Icon name="inbox" />
          <span>{t.files.askForFiles}</span>
        </a>
      </div>
    </>
  );
}

const searchInput = signal<HTMLInputElement | null>(null);

function SearchField({ value }: { readonly value: string }) {
  const [text, setText] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => setText(value), [value]);
  return (
    <div class="search">
      <label class="sr" for="q">
        {t.files.search}
      </label>
      <Icon name="search" />
      <input
        class="input"
        id="q"
        type="search"
        ref={(node) => {
          searchInput.value = node;
        }}
        value={text}
        placeholder={t.files.searchPlaceholder}
        autoComplete="off"
        maxLength={255}
        onInput={(event) => {
          const typed = event.currentTarget.value;
          setText(typed);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => setQuery({ q: typed }), SEARCH_DELAY_MS);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") {
            event.preventDefault();
            const at = fileList.move(0);
            if (at !== null) focusRow(fileList, at);
          }
        }}
      />
      <kbd aria-hidden="true">/</kbd>
    </div>
  );
}

function linkWords(file: FileInfo): string | null {
  const count = openLinkCounts.value?.get(file.id) ?? 0;
  const words = [file.is_public ? t.files.public : "", count > 0 ? t.files.linkCount(count) : ""].filter(Boolean);
  return words.length === 0 ? null : words.join(" · ");
}

/** Return why the file cannot be downloaded, or null. */
const stateOf = (file: FileInfo) => (file.status !== "available" ? file.status : file.is_withheld ? "withheld" : null);

function StateCell({ file }: { readonly file: FileInfo }) {
  const state = stateOf(file);
  if (state !== null) {
    const isBad = state === "rejected" || state === "withheld";
    return (
      <Badge tone={isBad ? "bad" : "plain"} icon={isBad ? "alert" : state === "pending" ? "upload" : "clock"}>
        {t.files.statuses[state]}
      </Badge>
    );
  }
  if (file.owner_id !== user.value?.id) {
    return (
      <Badge tone="line" icon="user">
        {t.files.ofOther}
      </Badge>
    );
  }
  const count = openLinkCounts.value?.get(file.id) ?? 0;
  if (!file.is_public && count === 0) {
    return openLinkCounts.value === null ? null : (
      <>
        <span class="muted" aria-hidden="true">
          –
        </span>
        <span class="sr">{t.files.noLinks}</span>
      </>
    );
  }
  return (
    <span class="badges">
      {file.is_public && (
        <Badge tone="line" icon="globe">
          {t.files.public}
        </Badge>
      )}
      {count > 0 && (
        <Badge tone="line" icon="link">
          {t.files.linkCount(count)}
        </Badge>
      )}
    </span>
  );
}

function columnsFor(query: FileQuery): readonly FileColumn[] {
  return [
    {
      id: "links",
      head: t.files.links,
      class: "wide col-links",
      cell: (file) => <StateCell file={file} />,
    },
    {
      id: "added",
      head: <SortButton label={t.files.added} ascending="created" descending="-created" query={query} />,
      sorted: sortedAs(query, "created", "-created"),
      class: "wide nowrap col-added",
      cell: (file) => fmt.moment(new Date(file.created_at)),
    },
    {
      ...sizeColumn(<SortButton label={t.files.size} ascending="size" descending="-size" query={query} />, sortedAs(query, "size", "-size")),
      folded: (file) => {
        const state = stateOf(file);
        return [
          state && t.files.statuses[state],
          fmt.bytes(file.size_bytes),
          fmt.moment(new Date(file.created_at)),
          linkWords(file),
        ]
          .filter((text) => text !== null)
          .join(" · ");
      },
    },
  ];
}

function fileMenu(file: FileInfo): readonly MenuItem[] {
  // Superusers see the files of all accounts; sharing stays with the owner.
  const isAvailable = file.status === "available";
  const isMine = file.owner_id === user.value?.id;
  return [
    { label: t.actions.open, icon: "eye", shortcut: t.keys.space, run: () => openPreview(fileList, file) },
    ...(isAvailable
      ? ([
          ...(isMine ? [{ label: t.actions.share, icon: "link", shortcut: "S", run: () => shareFiles([file]) } as const] : []),
          { label: t.actions.download, icon: "download", shortcut: "D", run: () => void downloadFiles([file]) },
          { label: t.actions.rename, icon: "file", shortcut: "F2", run: () => renameFile(fileList, file) },
          file.is_public
            ? { label: t.files.makePrivate, icon: "lock", run: () => void setPublic(fileList, [file], false) }
            : { label: t.files.makePublic, icon: "globe", run: () => void setPublic(fileList, [file], true) },
        ] as const satisfies readonly MenuItem[])
      : []),
    { label: t.files.moveToTrash, icon: "trash", shortcut: t.keys.delete, isDangerous: true, run: () => void deleteFiles(fileList, [file]) },
  ];
}

function useListKeys(): void {
  const withActive = (act: (file: FileInfo) => void) => () => {
    const file = fileList.active;
    if (file !== null) act(file);
  };
  useKeys({
    ...listKeys(fileList),
    "/": () => searchInput.value?.focus(),
    "Ctrl+z": () => runToastAction(),
    " ": withActive((file) => openPreview(fileList, file)),
    Enter: withActive((file) => openPreview(fileList, file)),
    s: () => shareFiles(fileList.targets()),
    n: () => shareFiles(fileList.targets()),
    d: () => void downloadFiles(fileList.targets()),
    F2: withActive((file) => renameFile(fileList, file)),
    Delete: () => void deleteFiles(fileList, fileList.targets()),
  });
}

// The catalogue must name every filter.
void (TYPES satisfies Record<keyof typeof t.files.types, unknown>);
void (AGES satisfies Record<keyof typeof t.files.ages, unknown>);
void (SIZES satisfies Record<keyof typeof t.files.sizes, unknown>);
