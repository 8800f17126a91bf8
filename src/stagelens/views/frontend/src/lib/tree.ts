// The folders that the kernel has told, and the rows that they make; see stagelens/views/tree.py.
import type { TreeRow } from "./rows";

type Mark = "" | "added" | "changed" | "removed";

/** name, kind, bytes, mark, differing rows at or below it, permission bits, link target */
type WireRow = [string, string, number, Mark, number, number | null, string | null];

export interface Folder {
  rows: WireRow[];
  total: number;
}

export interface FileRow extends TreeRow {
  path: string;
  name: string;
  kind: string;
  size: number;
  mark: Mark;
  inside: number;
  mode: number | null;
  target: string | null;
}

/** The rows of all open folders, top down; without recursion, since paths may be deep. */
export function flatten(folders: Map<string, Folder>, open: Set<string>, opening: Set<string>): FileRow[] {
  const made: FileRow[] = [];
  const waiting: { path: string; level: number; index: number }[] = [{ path: "", level: 1, index: 0 }];
  while (waiting.length) {
    const here = waiting[waiting.length - 1];
    const folder = folders.get(here.path);
    const wire = folder?.rows[here.index++];
    if (!folder || !wire) {
      waiting.pop();
      continue;
    }
    const [name, kind, size, mark, inside, mode, target] = wire;
    const path = here.path ? `${here.path}/${name}` : name;
    const isOpen = kind === "dir" ? open.has(path) : undefined;
    const place = { level: here.level, place: here.index, of: folder.total };
    const states = { open: isOpen, opening: opening.has(path) || undefined };
    made.push({ id: path, path, name, kind, size, mark, inside, mode, target, ...states, ...place });
    if (isOpen && folders.has(path)) waiting.push({ path, level: here.level + 1, index: 0 });
  }
  return made;
}
