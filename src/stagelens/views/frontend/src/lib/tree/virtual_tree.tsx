// A tree of any length: only the visible rows are in the page. The tree element keeps the focus and points to the
// current row (ARIA's activedescendant pattern), so that a row that scrolls out of view does not take it away.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useUniqueId } from "../widget";
import type { TreeRow } from "./model";
import "./tree.css";

interface Props<R extends TreeRow> {
  label: string;
  rows: R[];
  height: number;
  selected?: string;
  /** The rows belong to a previous query: they are visible but inactive. */
  busy: boolean;
  renderRow(row: R): ComponentChildren;
  rowClass(row: R): string;
  onToggle(row: R): void;
  onSelect(row: R): void;
  /** Called when the last rows come into view. */
  onEnd?(): void;
}

const ROW_HEIGHT = 24;
/** Rows above and below the visible ones that are in the page, too. */
const OVERSCAN = 8;
const MAX_QUEUED_KEYS = 50;

export function VirtualTree<R extends TreeRow>(props: Props<R>) {
  const { rows } = props;
  const tree = useRef<HTMLDivElement>(null);
  const name = useUniqueId("sl-tree");
  const [top, setTop] = useState(0);
  const [lastCursor, setCursor] = useState(0);
  // Keys are handled one per render, because each acts on the rows that the previous one left behind.
  // While the tree waits for rows, they wait, too.
  const queuedKeys = useRef<string[]>([]);
  const [, rerender] = useState(0);
  const cursor = Math.min(lastCursor, rows.length - 1);
  const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((top + props.height) / ROW_HEIGHT) + OVERSCAN);
  useEffect(() => {
    if (last >= rows.length) props.onEnd?.();
  }, [last, rows.length]);
  useLayoutEffect(() => {
    const box = tree.current;
    if (!box || cursor < 0) return;
    if (cursor * ROW_HEIGHT < box.scrollTop) box.scrollTop = cursor * ROW_HEIGHT;
    else if ((cursor + 1) * ROW_HEIGHT > box.scrollTop + box.clientHeight)
      box.scrollTop = (cursor + 1) * ROW_HEIGHT - box.clientHeight;
  }, [cursor]);

  const page = Math.max(1, Math.floor(props.height / ROW_HEIGHT) - 1);
  const keys: Record<string, (row: R) => void> = {
    ArrowDown: () => setCursor(Math.min(cursor + 1, rows.length - 1)),
    ArrowUp: () => setCursor(Math.max(cursor - 1, 0)),
    PageDown: () => setCursor(Math.min(cursor + page, rows.length - 1)),
    PageUp: () => setCursor(Math.max(cursor - page, 0)),
    Home: () => setCursor(0),
    End: () => setCursor(rows.length - 1),
    ArrowRight: (row) => (row.open === false ? props.onToggle(row) : row.open && setCursor(cursor + 1)),
    ArrowLeft: (row) => {
      if (row.open) return props.onToggle(row);
      for (let up = cursor - 1; up >= 0; up--) if (rows[up].level < row.level) return setCursor(up);
    },
    Enter: (row) => (row.open === undefined ? props.onSelect(row) : props.onToggle(row)),
    " ": (row) => props.onSelect(row),
  };
  const mustWait = (name: string) => props.busy || (name === "ArrowRight" && rows[cursor]?.loading);
  useLayoutEffect(() => {
    const [next] = queuedKeys.current;
    if (!next || mustWait(next)) return;
    queuedKeys.current.shift();
    if (cursor >= 0) keys[next](rows[cursor]);
    rerender((count) => count + 1);
  });
  const onKeyDown = (event: KeyboardEvent) => {
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (queuedKeys.current.push(event.key) > MAX_QUEUED_KEYS) queuedKeys.current.shift();
    rerender((count) => count + 1);
  };
  const renderItem = (row: R, index: number) => (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree element keeps the focus
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree element handles the keys
    <div
      key={row.id}
      id={`${name}-${index}`}
      role="treeitem"
      aria-level={row.level}
      aria-posinset={row.position}
      aria-setsize={row.siblings}
      aria-expanded={row.open}
      aria-busy={row.loading}
      aria-selected={row.id === props.selected}
      class={`sl-row ${props.rowClass(row)}${index === cursor ? " sl-cursor" : ""}`}
      style={{ top: `${index * ROW_HEIGHT}px`, paddingLeft: `${row.level * 16 - 8}px` }}
      onClick={() => {
        setCursor(index);
        props.onSelect(row);
        if (row.open !== undefined) props.onToggle(row);
      }}
    >
      <span class="sl-toggle" aria-hidden="true">
        {row.open === undefined ? "" : row.open ? "▾" : "▸"}
      </span>
      {props.renderRow(row)}
    </div>
  );
  return (
    <div
      ref={tree}
      class={props.busy ? "sl-tree sl-busy" : "sl-tree"}
      role="tree"
      aria-busy={props.busy}
      tabIndex={0}
      aria-label={props.label}
      aria-activedescendant={
        cursor >= 0 && cursor >= first && cursor < last ? `${name}-${cursor}` : undefined
      }
      style={{ height: `${Math.min(props.height, Math.max(3, rows.length) * ROW_HEIGHT + 2)}px` }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div role="presentation" style={{ height: `${rows.length * ROW_HEIGHT}px` }}>
        {rows.slice(first, last).map((row, index) => renderItem(row, first + index))}
      </div>
    </div>
  );
}
