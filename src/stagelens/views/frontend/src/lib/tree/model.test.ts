import { expect, test } from "vitest";
import { addFolders, appendRows, closeFolder, emptyTree, flatten, openFolder, type WireRow } from "./model";

const dir = (name: string): WireRow => [name, "dir", 0, "", 0, 0o755, null];
const file = (name: string): WireRow => [name, "file", 10, "added", 1, 0o644, null];
const folder = (...rows: WireRow[]) => ({ rows, total: rows.length });

const TREE = addFolders(emptyTree("query"), {
  "": folder(dir("etc"), dir("usr"), file("app")),
  usr: folder(dir("bin")),
});
const paths = (tree: typeof TREE) => flatten(tree).map(({ path }) => path);

test("an empty tree has no rows", () => {
  expect(flatten(emptyTree())).toEqual([]);
});

test("open folders are followed by their rows, one level deeper", () => {
  const rows = flatten(TREE);
  expect(rows.map(({ path, level }) => [path, level])).toEqual([
    ["etc", 1],
    ["usr", 1],
    ["usr/bin", 2],
    ["app", 1],
  ]);
});

test("only folders can be opened", () => {
  expect(flatten(TREE).map(({ open }) => open)).toEqual([false, true, false, undefined]);
});

test("a row knows its position among its siblings, including those not loaded yet", () => {
  const [row] = flatten(addFolders(emptyTree(), { "": { rows: [file("app")], total: 7 } }));
  expect([row.position, row.siblings]).toEqual([1, 7]);
});

test("a folder without rows is loading until they arrive", () => {
  const loading = openFolder(TREE, "etc");
  expect(flatten(loading)[0]).toMatchObject({ path: "etc", open: false, loading: true });
  const loaded = addFolders(loading, { etc: folder(file("passwd")) });
  expect(flatten(loaded)[0]).toMatchObject({ open: true, loading: undefined });
  expect(paths(loaded)).toEqual(["etc", "etc/passwd", "usr", "usr/bin", "app"]);
});

test("a closed folder opens again without being loaded", () => {
  const closed = closeFolder(TREE, "usr");
  expect(paths(closed)).toEqual(["etc", "usr", "app"]);
  const opened = openFolder(closed, "usr");
  expect(opened.loading.size).toBe(0);
  expect(paths(opened)).toEqual(paths(TREE));
});

test("further rows are appended once, even if their answer arrives twice", () => {
  const start = addFolders(emptyTree(), { "": { rows: [file("a")], total: 2 } });
  const once = appendRows(start, "", 1, { rows: [file("b")], total: 2 });
  expect(paths(once)).toEqual(["a", "b"]);
  expect(appendRows(once, "", 1, { rows: [file("b")], total: 2 })).toBe(once);
});

test("a tree is never changed in place", () => {
  const before = structuredClone(TREE);
  openFolder(TREE, "etc");
  closeFolder(TREE, "usr");
  addFolders(TREE, { etc: folder(file("passwd")) });
  appendRows(TREE, "usr", 1, folder(file("x")));
  expect(TREE).toEqual(before);
});

test("deep paths do not overflow the stack", () => {
  const depth = 2000; // the longest path of Linux has 4096 bytes
  const folders: Record<string, ReturnType<typeof folder>> = {};
  let path = "";
  for (let level = 0; level < depth; level++) {
    folders[path] = folder(dir("d"));
    path = path ? `${path}/d` : "d";
  }
  expect(flatten(addFolders(emptyTree(), folders))).toHaveLength(depth);
});
