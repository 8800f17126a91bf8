// A tree of any length: only the rows in view are in the page. Focus stays on the tree, as ARIA's
// activedescendant pattern has it, so that no row takes it away when it scrolls out.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useUnique } from "./widget";

export interface TreeRow {
  id: string;
  level: number;
  /** undefined for a row that cannot be opened. */
  open?: boolean;
  /** It was opened, and its rows are on their way. */
  opening?: boolean;
  /** Place among its siblings, from 1, and their number. */
  place: number;
  of: number;
}

interface Given<R extends TreeRow> {
  label: string;
  rows: R[];
  height: number;
  chosen?: string;
  /** The rows are of another tree than the one asked for: nothing can be done with them. */
  busy: boolean;
  draw(row: R): ComponentChildren;
  classes(row: R): string;
  toggle(row: R): void;
  choose(row: R): void;
  /** Called when the last rows come into view. */
  end?(): void;
}

const ROW = 24;
const SPARE = 8;
const HELD = 50;

export function TreeRows<R extends TreeRow>(given: Given<R>) {
  const { rows } = given;
  const box = useRef<HTMLDivElement>(null);
  const name = useUnique("sl-tree");
  const [top, setTop] = useState(0);
  const [cursor, setCursor] = useState(0);
  // Each key acts on the rows that the one before it led to; those of a busy tree wait for its answer.
  const pressed = useRef<string[]>([]);
  const [, wake] = useState(0);
  const at = Math.min(cursor, rows.length - 1);
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((top + given.height) / ROW) + SPARE);
  useEffect(() => {
    if (last >= rows.length) given.end?.();
  }, [last, rows.length]);
  useLayoutEffect(() => {
    const place = box.current;
    if (!place || at < 0) return;
    if (at * ROW < place.scrollTop) place.scrollTop = at * ROW;
    else if ((at + 1) * ROW > place.scrollTop + place.clientHeight)
      place.scrollTop = (at + 1) * ROW - place.clientHeight;
  }, [at]);

  const page = Math.max(1, Math.floor(given.height / ROW) - 1);
  const keys: Record<string, (row: R) => void> = {
    ArrowDown: () => setCursor(Math.min(at + 1, rows.length - 1)),
    ArrowUp: () => setCursor(Math.max(at - 1, 0)),
    PageDown: () => setCursor(Math.min(at + page, rows.length - 1)),
    PageUp: () => setCursor(Math.max(at - page, 0)),
    Home: () => setCursor(0),
    End: () => setCursor(rows.length - 1),
    ArrowRight: (row) => (row.open === false ? given.toggle(row) : row.open && setCursor(at + 1)),
    ArrowLeft: (row) => {
      if (row.open) return given.toggle(row);
      for (let up = at - 1; up >= 0; up--) if (rows[up].level < row.level) return setCursor(up);
    },
    Enter: (row) => (row.open === undefined ? given.choose(row) : given.toggle(row)),
    " ": (row) => given.choose(row),
  };
  const waits = (name: string) => given.busy || (name === "ArrowRight" && rows[at]?.opening);
  useLayoutEffect(() => {
    const [next] = pressed.current;
    if (!next || waits(next)) return;
    pressed.current.shift();
    if (at >= 0) keys[next](rows[at]);
    wake((times) => times + 1);
  });
  const key = (event: KeyboardEvent) => {
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (pressed.current.push(event.key) > HELD) pressed.current.shift();
    wake((times) => times + 1);
  };
  const row = (row: R, index: number) => (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus, see above
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree takes the keys
    <div
      key={row.id}
      id={`${name}-${index}`}
      role="treeitem"
      aria-level={row.level}
      aria-posinset={row.place}
      aria-setsize={row.of}
      aria-expanded={row.open}
      aria-busy={row.opening}
      aria-selected={row.id === given.chosen}
      class={`sl-row ${given.classes(row)}${index === at ? " sl-cursor" : ""}`}
      style={{ top: `${index * ROW}px`, paddingLeft: `${row.level * 16 - 8}px` }}
      onClick={() => {
        setCursor(index);
        given.choose(row);
        if (row.open !== undefined) given.toggle(row);
      }}
    >
      <span class="sl-twist" aria-hidden="true">
        {row.open === undefined ? "" : row.open ? "▾" : "▸"}
      </span>
      {given.draw(row)}
    </div>
  );
  return (
    <div
      ref={box}
      class={given.busy ? "sl-tree sl-busy" : "sl-tree"}
      role="tree"
      aria-busy={given.busy}
      tabIndex={0}
      aria-label={given.label}
      aria-activedescendant={at >= 0 && at >= first && at < last ? `${name}-${at}` : undefined}
      style={{ height: `${Math.min(given.height, Math.max(3, rows.length) * ROW + 2)}px` }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={key}
    >
      <div role="presentation" style={{ height: `${rows.length * ROW}px` }}>
        {rows.slice(first, last).map((each, index) => row(each, first + index))}
      </div>
    </div>
  );
}
