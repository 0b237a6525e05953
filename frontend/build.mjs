// Bundles the panel into the one module that Home Assistant loads; the same sources give the same bytes.
import { build } from "esbuild";
import { minifyTemplates, writeFiles } from "esbuild-minify-templates";

const out = process.argv[2];
if (!out) {
  console.error("usage: node build.mjs FILE");
  process.exit(2);
}

await build({
  entryPoints: ["src/main.ts"],
  outfile: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  loader: { ".css": "text" },
  plugins: [minifyTemplates({ taggedOnly: true }), writeFiles()],
  write: false,
  tsconfig: "tsconfig.json",
  logLevel: "warning",
});
