// Bundles each src/*.tsx to one ES module and one style sheet in ../static (or in the folder of the first argument),
// and theme.css for the static fallbacks.
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const outdir = process.argv[2] ?? join(here, "../static");
const widgets = (await readdir(join(here, "src"))).filter((name) => name.endsWith(".tsx")).sort();

await esbuild.build({
  entryPoints: [...widgets, "theme.css"].map((name) => join(here, "src", name)),
  outdir,
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  charset: "utf8",
});
console.log(widgets.map((name) => basename(name, ".tsx")).join(" "));
