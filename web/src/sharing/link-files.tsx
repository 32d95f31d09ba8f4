/** The files of a link: shown, removed, and added from the account's files. */

import type { FileInfo, Share } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { problemText, showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { linkChanges } from "../links/link-changes";
import { linkName } from "../links/link-name";
import { isOpen, keepLink, links, loadLinks } from "../links/link-store";
import { FieldError, IconButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FileName } from "../ui/file-name";
import { FormDialog, SelectField, textOf } from "../ui/form-dialog";
import { Icon } from "../ui/icon";

/** The API's limit. */
const FILES_OF_LINK_MAX = 100;
const CHOICE_MAX = 50;
const SEARCH_DELAY_MS = 250;

interface LinkFilesProps {
  readonly link: Share;
  /** Files that are known already, so that their names show at once. */
  readonly known: readonly FileInfo[];
  readonly onChanged: (link: Share) => void;
}

export function LinkFiles({ link, known, onChanged }: LinkFilesProps) {
  const [files, setFiles] = useState<ReadonlyMap<string, FileInfo>>(() => new Map(known.map((file) => [file.id, file])));
  const [isLoaded, setLoaded] = useState(false);
  const ids = link.file_ids.join();
  useEffect(() => {
    if (ids === "") return;
    const controller = new AbortController();
    api.files.list({ ids: [...link.file_ids], limit: FILES_OF_LINK_MAX }, { signal: controller.signal }).then(
      (page) => {
        setFiles(new Map(page.items.map((file) => [file.id, file])));
        setLoaded(true);
      },
      showProblem,
    );
    return () => controller.abort();
  }, [ids]);
  const keep = (changed: Share) => {
    keepLink(changed);
    onChanged(changed);
  };

  async function remove(fileId: string): Promise<void> {
    try {
      await linkChanges.removeFile(link.id, fileId);
      keep(await api.shares.get(link.id));
    } catch (error) {
      showProblem(error);
    }
  }

  return (
    <div class="stack g2">
      <h3>
        {s.linkFiles.title} · {s.links.fileCount(link.file_ids.length)}
      </h3>
      <ul class="linked" aria-label={s.linkFiles.title}>
        {link.file_ids.map((id) => {
          const name = files.get(id)?.filename ?? (isLoaded ? s.linkFiles.gone : "…");
          return (
            <li class="row" key={id}>
              <span class="grow name">
                <FileName name={name} />
              </span>
              <IconButton icon="x" label={s.linkFiles.remove(name)} isSmall onClick={() => void remove(id)} />
            </li>
          );
        })}
      </ul>
      {link.owner_id === user.value?.id && link.file_ids.length < FILES_OF_LINK_MAX && (
        <div class="row">
          <button
            type="button"
            class="btn small"
            onClick={() => showDialog((close) => <ChooseFiles link={link} onAdded={keep} onClose={close} />)}
          >
            <Icon name="plus" size="s" />
            <span>{s.linkFiles.add}</span>
          </button>
        </div>
      )}
    </div>
  );
}

interface ChooseFilesProps {
  readonly link: Share;
  readonly onAdded: (link: Share) => void;
  readonly onClose: () => void;
}

/** Choose files of the account that the link does not have. */
function ChooseFiles({ link, onAdded, onClose }: ChooseFilesProps) {
  const [search, setSearch] = useState("");
  const [found, setFound] = useState<readonly FileInfo[]>([]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    const q = search.trim();
    const read = () =>
      api.files.list({ status: ["available"], limit: CHOICE_MAX, ...(q === "" ? {} : { q }) }, { signal: controller.signal }).then(
        (page) => setFound(page.items),
        showProblem,
      );
    const timer = setTimeout(() => void read(), q === "" ? 0 : SEARCH_DELAY_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [search]);
  const offered = found.filter((file) => !link.file_ids.includes(file.id));
  const toggle = (id: string, isChosen: boolean) =>
    setChosen((before) => {
      const after = new Set(before);
      if (isChosen) after.add(id);
      else after.delete(id);
      return after;
    });

  async function add(): Promise<void> {
    if (isBusy || chosen.size === 0) return;
    setBusy(true);
    setError(null);
    try {
      onAdded(await linkChanges.addFiles(link.id, [...chosen]));
      onClose();
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }

  return (
    <Dialog
      title={s.linkFiles.add}
      subtitle={linkName(link)}
      onClose={onClose}
      onConfirm={() => void add()}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {s.actions.cancel}
          </button>
          <button type="button" class="btn primary" aria-busy={isBusy} disabled={chosen.size === 0} onClick={() => void add()}>
            {s.linkFiles.addCount(chosen.size)}
          </button>
        </>
      }
    >
      <div class="dlg-text stack">
        <input
          class="input"
          type="search"
          aria-label={t.files.search}
          placeholder={t.files.searchPlaceholder}
          value={search}
          maxLength={255}
          autoFocus
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        {offered.length === 0 ? (
          <p class="soft">{s.linkFiles.nothing}</p>
        ) : (
          <ul class="linked" aria-label={s.linkFiles.choices}>
            {offered.map((file) => (
              <li key={file.id}>
                <label class="row">
                  <input type="checkbox" aria-label={file.filename} checked={chosen.has(file.id)} onChange={(event) => toggle(file.id, event.currentTarget.checked)} />
                  <span class="grow name">
                    <FileName name={file.filename} />
                  </span>
                  <span class="muted nowrap">{fmt.bytes(file.size_bytes)}</span>
                </label>
              </li>
            ))}
          </ul>
        )}
        {error !== null && <FieldError text={error} />}
      </div>
    </Dialog>
  );
}

/** Add the files of a selection to a link that exists. */
export function AddToLink({ files, onClose }: { readonly files: readonly FileInfo[]; readonly onClose: () => void }) {
  useEffect(() => {
    if (links.value === null) void loadLinks();
  }, []);
  const open = links.value?.filter((link) => isOpen(link) && link.owner_id === user.value?.id) ?? [];
  async function add(fields: FormData): Promise<void> {
    const changed = await linkChanges.addFiles(
      textOf(fields, "link"),
      files.map((file) => file.id),
    );
    keepLink(changed);
    showToast(s.linkFiles.added(linkName(changed)), { icon: "link" });
  }
  if (open.length === 0) {
    return (
      <Dialog
        title={s.linkFiles.addToLink}
        onClose={onClose}
        onConfirm={onClose}
        footer={
          <button type="button" class="btn primary" onClick={onClose}>
            {s.share.done}
          </button>
        }
      >
        <div class="dlg-text">
          <p class="soft">{s.linkFiles.noLinks}</p>
        </div>
      </Dialog>
    );
  }
  return (
    <FormDialog title={s.linkFiles.addToLink} submit={s.linkFiles.addCount(files.length)} act={add} onClose={onClose}>
      <SelectField label={s.links.link} name="link" value={open[0]?.id ?? ""} options={open.map((link) => [link.id, linkName(link)])} />
      <p class="hint">{s.linkFiles.sameRules}</p>
    </FormDialog>
  );
}
