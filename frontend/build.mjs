// Bundles the panel into the one module that Home Assistant loads; the same sources give the same bytes.
import { readFile } from "node:fs/promises";
import { build, transform } from "esbuild";
import { minifyTemplates, writeFiles } from "esbuild-minify-templates";

const out = process.argv[2];
if (!out) {
  console.error("usage: node build.mjs FILE");
  process.exit(2);
}

const STYLES = /\bcss`([^`$]*)`/g;

/** Styles are text in a template, which is left as it is: they are minified before. */
const minifyStyles = {
  name: "minify-styles",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const minified = await Promise.all(
        [...source.matchAll(STYLES)].map(([, css]) =>
          transform(css, { loader: "css", minify: true, target: "es2022" }),
        ),
      );
      const contents = source.replace(STYLES, () => {
        const { code } = minified.shift();
        return `css\`${code.trim().replaceAll("\\", "\\\\")}\``;
      });
      return { contents, loader: "ts" };
    });
  },
};

const LEGEND = /[^{}]*\.u-(?:title|legend|inline|series)[^{}]*\{[^}]*\}/g;

/** Charts have no legend and no title here, and need no styles for them. */
const minifyChartStyles = {
  name: "minify-chart-styles",
  setup({ onLoad }) {
    onLoad({ filter: /uPlot\.min\.css$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const { code } = await transform(source.replace(LEGEND, ""), {
        loader: "css",
        minify: true,
        target: "es2022",
      });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

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
  // Libraries name so what only they use; Lit's own names begin with `_$` and stay.
  mangleProps: /^_[A-Za-z]/,
  plugins: [minifyStyles, minifyChartStyles, minifyTemplates({ taggedOnly: true }), writeFiles()],
  write: false,
  tsconfig: "tsconfig.json",
  logLevel: "warning",
});
