// Folders are requested when the user opens them; see stagelens/views/file_tree.py.
import { useEffect, useRef, useState } from "preact/hooks";
import { useChannel } from "../widget";
import {
  addFolders,
  appendRows,
  closeFolder,
  emptyTree,
  type FileRow,
  type Folder,
  flatten,
  openFolder,
  type Totals,
} from "./model";

interface Answer {
  folders: Record<string, Folder>;
  totals?: Totals;
}

const MAX_REOPENED = 50;

/** The rows of a tree; `query` holds the arguments of the widget's `list` request. */
export function useFolders(query: Record<string, unknown>) {
  const channel = useChannel();
  const [tree, setTree] = useState(emptyTree());
  const [error, setError] = useState<Error>();
  // Folders that the user opened stay open when the query changes, for example to the next instruction.
  const openedByUser = useRef(new Set<string>());
  // Answers to an earlier query are dropped.
  const queryNumber = useRef(0);
  const key = JSON.stringify(query);

  const list = async (options: Record<string, unknown>, onAnswer: (answer: Answer) => void) => {
    const number = queryNumber.current;
    try {
      const answer = await channel.request<Answer>("list", { ...query, ...options });
      if (number === queryNumber.current) onAnswer(answer);
    } catch (problem) {
      if (number !== queryNumber.current) return;
      setError(problem as Error);
      setTree((old) => (old.key === key ? { ...old, loading: new Set() } : emptyTree(key)));
    }
  };
  const add = ({ folders }: Answer) => setTree((old) => addFolders(old, folders));

  useEffect(() => {
    queryNumber.current++;
    setError(undefined);
    void list({ paths: null }, ({ folders, totals }) => {
      setTree(addFolders(emptyTree(key, totals), folders));
      const missing = [...openedByUser.current].filter((path) => !(path in folders));
      if (missing.length) void list({ paths: missing.slice(0, MAX_REOPENED) }, add);
    });
  }, [key]);

  const toggle = ({ path }: FileRow) => {
    if (tree.loading.has(path)) return;
    if (tree.open.has(path)) {
      openedByUser.current.delete(path);
      setTree((old) => closeFolder(old, path));
    } else {
      openedByUser.current.add(path);
      setTree((old) => openFolder(old, path));
      if (!tree.folders.has(path)) void list({ paths: [path] }, add);
    }
  };

  /** Request the next rows of an open folder that was too large for one answer. */
  const loadMore = () => {
    for (const [path, { rows, total }] of tree.folders)
      if (tree.open.has(path) && rows.length < total)
        return void list({ paths: [path], offset: rows.length }, ({ folders }) =>
          setTree((old) => appendRows(old, path, rows.length, folders[path])),
        );
  };

  // Until the answer arrives, the rows belong to the previous query: they are visible but inactive.
  const busy = tree.key !== key;
  return { rows: flatten(tree), totals: tree.totals, busy, error, toggle, loadMore };
}
