// The rows of a file tree and the folders that they come from; see stagelens/views/file_tree.py.

type Mark = "" | "added" | "changed" | "removed";

/** name, kind, bytes, mark, differing rows at or below it, permission bits, link target */
export type WireRow = [string, string, number, Mark, number, number | null, string | null];

/** The rows of a folder that the kernel has sent so far, and how many it has. */
export interface Folder {
  rows: WireRow[];
  total: number;
}

export interface TreeRow {
  id: string;
  level: number;
  /** undefined for a row that cannot be opened. */
  open?: boolean;
  /** The row is open, and its children are not loaded yet. */
  loading?: boolean;
  /** Position among the siblings, from 1. */
  position: number;
  siblings: number;
}

export interface FileRow extends TreeRow {
  path: string;
  name: string;
  kind: string;
  size: number;
  mark: Mark;
  /** Differing rows at or below this one. */
  changes: number;
  mode: number | null;
  target: string | null;
}

export interface Totals {
  rows: number;
  bytes: number;
}

export interface TreeState {
  /** The query that the folders answer. */
  key: string;
  folders: Map<string, Folder>;
  open: Set<string>;
  /** Folders that the user opened and whose rows are requested. */
  loading: Set<string>;
  totals: Totals;
}

export function emptyTree(key = "", totals: Totals = { rows: 0, bytes: 0 }): TreeState {
  return { key, folders: new Map(), open: new Set(), loading: new Set(), totals };
}

/** Add folders and open them. */
export function addFolders(tree: TreeState, folders: Record<string, Folder>): TreeState {
  const paths = Object.keys(folders);
  return {
    ...tree,
    folders: new Map([...tree.folders, ...Object.entries(folders)]),
    open: new Set([...tree.open, ...paths]),
    loading: without(tree.loading, ...paths),
  };
}

/** Add rows of a folder from `offset` on; rows that are already here are not added again. */
export function appendRows(tree: TreeState, path: string, offset: number, next: Folder): TreeState {
  const rows = tree.folders.get(path)?.rows ?? [];
  if (rows.length !== offset) return tree;
  const whole = { rows: [...rows, ...next.rows], total: next.total };
  return { ...tree, folders: new Map([...tree.folders, [path, whole]]) };
}

/** Open a folder; if its rows are not here yet, it is loading until they are added. */
export function openFolder(tree: TreeState, path: string): TreeState {
  if (tree.folders.has(path)) return { ...tree, open: new Set([...tree.open, path]) };
  return { ...tree, loading: new Set([...tree.loading, path]) };
}

export function closeFolder(tree: TreeState, path: string): TreeState {
  return { ...tree, open: without(tree.open, path) };
}

function without(paths: Set<string>, ...removed: string[]): Set<string> {
  return new Set([...paths].filter((path) => !removed.includes(path)));
}

/** The rows of all open folders from top to bottom; not recursive, because paths may be deep. */
export function flatten({ folders, open, loading }: TreeState): FileRow[] {
  const rows: FileRow[] = [];
  const stack: { path: string; level: number; index: number }[] = [{ path: "", level: 1, index: 0 }];
  while (stack.length) {
    const parent = stack[stack.length - 1];
    const folder = folders.get(parent.path);
    const wire = folder?.rows[parent.index++];
    if (!folder || !wire) {
      stack.pop();
      continue;
    }
    const [name, kind, size, mark, changes, mode, target] = wire;
    const path = parent.path ? `${parent.path}/${name}` : name;
    const isOpen = kind === "dir" ? open.has(path) : undefined;
    rows.push({
      id: path,
      level: parent.level,
      open: isOpen,
      loading: loading.has(path) || undefined,
      position: parent.index,
      siblings: folder.total,
      path,
      name,
      kind,
      size,
      mark,
      changes,
      mode,
      target,
    });
    if (isOpen && folders.has(path)) stack.push({ path, level: parent.level + 1, index: 0 });
  }
  return rows;
}
