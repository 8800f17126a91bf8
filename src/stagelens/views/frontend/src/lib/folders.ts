// Folders asked for as they are opened; see stagelens/views/tree.py.
import { useEffect, useRef, useState } from "preact/hooks";
import { type FileRow, type Folder, flatten } from "./tree";
import { useChannel } from "./widget";

interface Answer {
  folders: Record<string, Folder>;
  totals?: { rows: number; bytes: number };
}

interface State {
  /** The query that these folders answer. */
  key: string;
  folders: Map<string, Folder>;
  open: Set<string>;
  /** Opened by hand, their rows on the way. */
  opening: Set<string>;
  totals: { rows: number; bytes: number };
}

const TOTALS = { rows: 0, bytes: 0 };
const NOTHING: State = { key: "", folders: new Map(), open: new Set(), opening: new Set(), totals: TOTALS };

function without(paths: Set<string>, path: string): Set<string> {
  const rest = new Set(paths);
  rest.delete(path);
  return rest;
}

/** The rows of a tree; `query` says which tree, in the words of the widget's `list` request. */
export function useFolders(query: Record<string, unknown>) {
  const channel = useChannel();
  const [state, setState] = useState<State>(NOTHING);
  const [error, setError] = useState<Error>();
  // What the reader opened by hand stays open from instruction to instruction.
  const kept = useRef(new Set<string>());
  const current = useRef(0);
  const key = JSON.stringify(query);

  const ask = async (given: Record<string, unknown>, take: (answer: Answer) => void) => {
    const turn = current.current;
    try {
      const answer = await channel.request<Answer>("list", { ...query, ...given });
      if (turn === current.current) take(answer);
    } catch (problem) {
      if (turn !== current.current) return;
      setError(problem as Error);
      setState((old) => (old.key === key ? { ...old, opening: new Set() } : { ...NOTHING, key }));
    }
  };

  const add = (answer: Answer) => {
    const found = Object.entries(answer.folders);
    setState((old) => ({
      ...old,
      folders: new Map([...old.folders, ...found]),
      open: new Set([...old.open, ...found.map(([path]) => path)]),
      opening: found.reduce((rest, [path]) => without(rest, path), old.opening),
    }));
  };

  useEffect(() => {
    current.current++;
    setError(undefined);
    void ask({ paths: null }, (answer) => {
      const folders = new Map(Object.entries(answer.folders));
      setState({ ...NOTHING, key, folders, open: new Set(folders.keys()), totals: answer.totals ?? TOTALS });
      const missing = [...kept.current].filter((path) => !folders.has(path));
      if (missing.length) void ask({ paths: missing.slice(0, 50) }, add);
    });
  }, [key]);

  const toggle = ({ path }: FileRow) => {
    if (state.opening.has(path)) return;
    if (state.open.has(path)) {
      kept.current.delete(path);
      setState((old) => ({ ...old, open: without(old.open, path) }));
    } else {
      kept.current.add(path);
      if (state.folders.has(path)) setState((old) => ({ ...old, open: new Set([...old.open, path]) }));
      else {
        setState((old) => ({ ...old, opening: new Set([...old.opening, path]) }));
        void ask({ paths: [path] }, add);
      }
    }
  };

  /** Ask for the rest of a folder that was too large for one answer. */
  const more = () => {
    for (const [path, folder] of state.folders)
      if (state.open.has(path) && folder.rows.length < folder.total)
        return void ask({ paths: [path], offset: folder.rows.length }, (answer) => {
          const rest = answer.folders[path];
          const whole = { rows: [...folder.rows, ...rest.rows], total: rest.total };
          setState((old) => ({ ...old, folders: new Map([...old.folders, [path, whole]]) }));
        });
  };

  // Until the answer is there the rows are those of another tree: they are seen, but mean nothing.
  const busy = state.key !== key;
  return {
    rows: flatten(state.folders, state.open, state.opening),
    totals: state.totals,
    busy,
    error,
    toggle,
    more,
  };
}

/** A value that follows another one once that stays the same for a moment. */
export function useSettled<T>(value: T, milliseconds: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
