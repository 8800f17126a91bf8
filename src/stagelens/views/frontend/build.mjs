// Bundles each src/*.tsx to one ES module in ../static (or the folder given), and theme.css for the static twins.
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const outdir = process.argv[2] ?? join(here, "../static");

// A style sheet is imported as a minified string: a widget is one file.
const styles = {
  name: "styles",
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await esbuild.transform(await readFile(path, "utf8"), {
        loader: "css",
        minify: true,
        target: "es2020", // nested rules are written out
      });
      return { contents: code, loader: "text" };
    });
  },
};

const sources = (await readdir(join(here, "src"))).filter((name) => name.endsWith(".tsx")).sort();
await esbuild.build({
  entryPoints: sources.map((name) => join(here, "src", name)),
  outdir,
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  plugins: [styles],
});
await esbuild.build({ entryPoints: [join(here, "src/theme.css")], outdir, minify: true });
console.log(sources.map((name) => basename(name, ".tsx")).join(" "));
