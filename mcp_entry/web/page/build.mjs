// Builds the page: `node build.mjs --outdir DIR` writes index.html, and script and style under assets/ with the hash of
// their content in their names. DIR is emptied first. `--stats` prints the sizes.

import { build } from "esbuild";
import { gzipSync } from "node:zlib";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { outdir: { type: "string" }, stats: { type: "boolean" } } });
if (!values.outdir) {
  console.error("Say where the page is to be written: npm run build -- --outdir DIR");
  process.exit(2);
}
const here = import.meta.dirname;
const outdir = path.resolve(values.outdir);

const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx", style: "src/page.css" },
  entryNames: "[name]-[hash]",
  outdir: path.join(outdir, "assets"),
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox121", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
  legalComments: "none",
  write: false,
  metafile: true,
  logLevel: "warning",
});

/** The name under which the page asks for the file that was built of this kind. */
function named(ending) {
  const file = outputFiles.find((each) => each.path.endsWith(ending));
  if (!file) throw new Error(`esbuild made no ${ending} file`);
  return `/assets/${path.basename(file.path)}`;
}

const template = await readFile(path.join(here, "src/index.html"), "utf8");
const html = template.replace("{{script}}", named(".js")).replace("{{style}}", named(".css"));

await rm(outdir, { recursive: true, force: true });
await mkdir(path.join(outdir, "assets"), { recursive: true });
await Promise.all(outputFiles.map((file) => writeFile(file.path, file.contents)));
await writeFile(path.join(outdir, "index.html"), html);

if (values.stats) {
  for (const file of outputFiles) {
    console.log(`${path.basename(file.path)}: ${file.contents.length} bytes, ${gzipSync(file.contents).length} gzipped`);
  }
  const [script] = Object.entries(metafile.outputs).filter(([name]) => name.endsWith(".js"));
  const libraries = Object.entries(script[1].inputs).filter(([name]) => name.startsWith("node_modules/"));
  const bytes = libraries.reduce((sum, [, input]) => sum + input.bytesInOutput, 0);
  console.log(`libraries: ${bytes} bytes of the script`);
}
