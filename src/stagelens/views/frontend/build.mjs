// Bundles each widget of the library and of the course to one ES module and one style sheet, in the folder static
// beside its front-end folder, and theme.css for the static fallbacks. With an argument, that folder gets the
// folders views and apps instead.
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const views = fileURLToPath(new URL("..", import.meta.url));
const apps = join(views, "../../stagelens_course/apps");
const target = process.argv[2];

for (const [folder, extra] of [
  [views, ["theme.css"]],
  [apps, []],
]) {
  const src = join(folder, "frontend/src");
  const widgets = (await readdir(src)).filter((name) => name.endsWith(".tsx")).sort();
  await esbuild.build({
    entryPoints: [...widgets, ...extra].map((name) => join(src, name)),
    outdir: target ? join(target, basename(folder)) : join(folder, "static"),
    tsconfig: join(views, "frontend/tsconfig.json"),
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
}
