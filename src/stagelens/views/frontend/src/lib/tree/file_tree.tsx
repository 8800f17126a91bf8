// A file tree with a toolbar: what to show, a filter, the sort order; see stagelens/views/file_tree.py.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Choices, Problem } from "../components";
import { size } from "../format";
import { useTranslation } from "../widget";
import { FileCells } from "./file_row";
import { useFolders } from "./folders";
import { VirtualTree } from "./virtual_tree";

interface Props {
  /** Selects the tree: arguments of the widget's `list` request, to which the filter and the order are added. */
  query: Record<string, unknown>;
  shown: string;
  options: [string, string][];
  onShow(value: string): void;
  height: number;
  /** The line above the tree, made from the number of entries and their size. */
  summary?(totals: string): string;
  /** Shown after the summary. */
  details?: ComponentChildren;
  /** At the end of the toolbar. */
  children?: ComponentChildren;
  path?: string;
  onSelect?(path: string): void;
}

const DEBOUNCE = 200;

export function FileTree(props: Props) {
  const { t, tn } = useTranslation();
  const [typed, setTyped] = useState("");
  const [sort, setSort] = useState("name");
  const needle = useDebounced(typed, DEBOUNCE);
  const tree = useFolders({ ...props.query, needle, sort });
  const largest = Math.max(1, ...tree.rows.filter((row) => row.level === 1).map((row) => row.size));
  const totals = `${tn("{n} entry", "{n} entries", tree.totals.rows)} · ${size(tree.totals.bytes)}`;
  return (
    <div class="sl-files">
      <div class="sl-bar">
        <Choices label={t("Show")} value={props.shown} options={props.options} onSelect={props.onShow} />
        <input
          class="sl-input sl-filter"
          type="search"
          placeholder={t("Filter, such as *.jar")}
          aria-label={t("Filter by path")}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <Choices
          label={t("Sort")}
          value={sort}
          options={[
            ["name", t("Name")],
            ["size", t("Size")],
          ]}
          onSelect={setSort}
        />
        {props.children}
      </div>
      <p class="sl-summary" role="status">
        {tree.busy ? t("Reading files…") : props.summary ? props.summary(totals) : totals}
        {props.details}
      </p>
      {tree.error && <Problem error={tree.error} />}
      <VirtualTree
        label={t("Files")}
        rows={tree.rows}
        busy={tree.busy}
        height={props.height}
        selected={props.path}
        rowClass={(row) => (row.mark ? `sl-is-${row.mark}` : "")}
        renderRow={(row) => <FileCells row={row} largest={largest} />}
        onToggle={tree.toggle}
        onSelect={(row) => row.kind !== "dir" && props.onSelect?.(row.path)}
        onEnd={tree.loadMore}
      />
      {!tree.rows.length && !tree.busy && <p class="sl-empty sl-soft">{t("No files to show here.")}</p>}
    </div>
  );
}

/** The value, once it has stayed the same for a while. */
function useDebounced<T>(value: T, milliseconds: number): T {
  const [debounced, setDebounced] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setDebounced(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return debounced;
}
