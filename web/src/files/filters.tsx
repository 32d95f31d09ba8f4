/** Filters and order of the file list, as controls. */

import { t } from "../core/language";
import { navigate, setQuery } from "../core/router";
import { hasFilters, type FileQuery, type Sort } from "./file-query";
import { fileView } from "./file-view";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";

interface ChipProps<T extends string> {
  readonly label: string;
  readonly value: T | null;
  readonly names: Readonly<Record<T, string>>;
  readonly parameter: string;
}

/** A filter: a menu while it is off, a button that takes it away while it is on. */
function Chip<T extends string>({ label, value, names, parameter }: ChipProps<T>) {
  if (value !== null) {
    return (
      <button type="button" class="chip" aria-pressed="true" title={t.files.removeFilter} onClick={() => setQuery({ [parameter]: null })}>
        {names[value]} <Icon name="x" size="s" />
      </button>
    );
  }
  const items = () => (Object.entries(names) as [T, string][]).map(([choice, name]): MenuItem => ({ label: name, run: () => setQuery({ [parameter]: choice }) }));
  return (
    <MenuButton class="chip" label={label} isLabelShown items={items}>
      {label} <Icon name="down" size="s" />
    </MenuButton>
  );
}

/** Filters and, on phones, the order. */
export function Filters({ query }: { readonly query: FileQuery }) {
  const sorts = (Object.keys(t.files.sorts) as Sort[]).map(
    (sort): MenuItem => ({ label: t.files.sorts[sort], isChosen: sort === query.sort, run: () => setQuery({ sort: sort === "-created" ? null : sort }) }),
  );
  return (
    <div class="filters" role="group" aria-label={t.files.filters}>
      <MenuButton class={fileView.value === "grid" ? "chip" : "chip phone-only"} label={t.files.sorts[query.sort]} isLabelShown items={() => sorts}>
        {t.files.sorts[query.sort]} <Icon name="down" size="s" />
      </MenuButton>
      <Chip label={t.files.type} value={query.type} names={t.files.types} parameter="type" />
      <Chip label={t.files.added} value={query.age} names={t.files.ages} parameter="age" />
      <Chip label={t.files.size} value={query.size} names={t.files.sizes} parameter="size" />
      <Chip label={t.files.shared} value={query.isSharedByName ? "by_me" : null} names={{ by_me: t.files.sharedByName }} parameter="shared" />
      {query.requestId !== null && (
        <button type="button" class="chip" aria-pressed="true" title={t.files.removeFilter} onClick={() => setQuery({ request: null })}>
          {t.files.fromRequest} <Icon name="x" size="s" />
        </button>
      )}
      {hasFilters(query) && (
        <button type="button" class="link sm" onClick={() => navigate("/files", { replace: true })}>
          {t.files.clear}
        </button>
      )}
    </div>
  );
}

export function sortedAs(query: FileQuery, ascending: Sort, descending: Sort): "ascending" | "descending" | undefined {
  return query.sort === ascending ? "ascending" : query.sort === descending ? "descending" : undefined;
}

interface SortButtonProps {
  readonly label: string;
  readonly ascending: Sort;
  readonly descending: Sort;
  readonly query: FileQuery;
  readonly isAscendingFirst?: boolean;
}

/** The head of a column that sorts. */
export function SortButton({ label, ascending, descending, query, isAscendingFirst = false }: SortButtonProps) {
  const [first, second] = isAscendingFirst ? [ascending, descending] : [descending, ascending];
  const next = query.sort === first ? second : first;
  const sorted = sortedAs(query, ascending, descending);
  return (
    <button type="button" onClick={() => setQuery({ sort: next === "-created" ? null : next })}>
      {label}
      {sorted && <Icon name="sort" size="s" class={sorted === "ascending" ? "turned" : ""} />}
    </button>
  );
}
