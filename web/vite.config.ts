import { defineConfig } from "vite";

// One module and one style sheet, with stable names, into the Python package. Nothing in them
// depends on where they were built, so a build can be compared byte for byte.
export default defineConfig({
  // Calls of `createElement` are shorter than those of the automatic runtime, and it is there anyway.
  oxc: {
    jsx: { runtime: "classic", pragma: "createElement", pragmaFrag: "Fragment" },
    jsxInject: 'import { Fragment, createElement } from "preact";',
  },
  build: {
    target: "es2022",
    outDir: "../src/convtrace/page",
    emptyOutDir: false,
    minify: true,
    cssMinify: true,
    modulePreload: false,
    rolldownOptions: {
      input: "src/main.tsx",
      preserveEntrySignatures: "strict",
      output: {
        format: "es",
        entryFileNames: "page.js",
        assetFileNames: "page.[ext]",
        codeSplitting: false,
      },
    },
  },
});
