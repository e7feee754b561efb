import { defineConfig } from "vite";

// Properties that only this program reads, never a document, a link, the DOM or a placeholder of a
// message. They get short names, which is a hundred bytes; whoever writes one as a string takes it out.
const OURS = [
  "answers", "canRedo", "canUndo", "channelsIn", "channelsOut", "decimals", "drawn", "editable", "exercise",
  "expect", "explains", "exponent", "follow", "largest", "layers", "leading", "loaded", "magnitude", "mantissa", "narrow",
  "network", "numerator", "onDone", "onFollow", "outputChannel", "outputs", "palette", "partials", "picture", "playground", "pointed",
  "practice", "precision", "preset", "problems", "revision", "rounded", "scales", "shares", "slides",
  "smallestExponent", "snapshot", "stack", "taps", "trail", "underway", "unread",
  // Of Preact's class components, of which there are none but its own.
  "componentDidCatch", "componentDidMount", "componentDidUpdate", "componentWillMount", "componentWillReceiveProps",
  "componentWillUnmount", "componentWillUpdate", "getChildContext", "getDerivedStateFromError",
  "forceUpdate", "getDerivedStateFromProps", "getSnapshotBeforeUpdate", "setState", "shouldComponentUpdate", "unmount",
];

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
        minify: {
          compress: true,
          mangle: true,
          codegen: true,
          mangleProps: { include: new RegExp(`^(${OURS.join("|")})$`) },
        },
      },
    },
  },
});
