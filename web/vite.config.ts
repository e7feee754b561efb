import { defineConfig } from "vite";

// One module and one style sheet, with stable names, into the Python package. Nothing in them
// depends on where they were built, so a build can be compared byte for byte.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
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
