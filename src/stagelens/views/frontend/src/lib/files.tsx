// A tree of files with its bar: what is shown, a filter, the order; see stagelens/views/tree.py.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { FileCells } from "./file";
import { useFolders, useSettled } from "./folders";
import { size } from "./format";
import { TreeRows } from "./rows";
import { Choices, Problem } from "./ui";
import { useWords } from "./widget";

interface Given {
  /** Which tree, in the words of the widget's `list` request; the filter and the order come to it. */
  query: Record<string, unknown>;
  shown: string;
  options: [string, string][];
  show(value: string): void;
  height: number;
  /** The line above the tree, of the tree's own figures. */
  summary?(figures: string): string;
  beside?: ComponentChildren;
  /** At the end of the bar. */
  children?: ComponentChildren;
  path?: string;
  choose?(path: string): void;
}

export function FileTree(given: Given) {
  const { t, tn } = useWords();
  const [typed, setTyped] = useState("");
  const [sort, setSort] = useState("name");
  const needle = useSettled(typed, 200);
  const found = useFolders({ ...given.query, needle, sort });
  const largest = Math.max(1, ...found.rows.filter((row) => row.level === 1).map((row) => row.size));
  const figures = `${tn("{n} entry", "{n} entries", found.totals.rows)} · ${size(found.totals.bytes)}`;
  return (
    <div class="sl-files">
      <div class="sl-bar">
        <Choices label={t("Show")} value={given.shown} options={given.options} choose={given.show} />
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
          choose={setSort}
        />
        {given.children}
      </div>
      <p class="sl-summary" role="status">
        {found.busy ? t("Reading files…") : given.summary ? given.summary(figures) : figures}
        {given.beside}
      </p>
      {found.error && <Problem error={found.error} />}
      <TreeRows
        label={t("Files")}
        rows={found.rows}
        busy={found.busy}
        height={given.height}
        chosen={given.path}
        classes={(row) => (row.mark ? `sl-is-${row.mark}` : "")}
        draw={(row) => <FileCells row={row} largest={largest} />}
        toggle={found.toggle}
        choose={(row) => row.kind !== "dir" && given.choose?.(row.path)}
        end={found.more}
      />
      {!found.rows.length && !found.busy && <p class="sl-empty sl-soft">{t("No files to show here.")}</p>}
    </div>
  );
}
