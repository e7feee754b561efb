import { defineConfig } from "vite";

// Properties that only this program reads, never a document, a link, the DOM or a placeholder of a
// message; nor `unmount`, which the signals write as a string. They get short names, which is a hundred bytes; whoever writes one as a string takes it out.
const OURS = [
  "addProduct", "answers", "axes", "built", "canEdit", "canRedo", "canUndo", "channelsIn", "channelsOut",
  "decimals", "digits", "documents", "draft", "drawn", "editable", "exercise", "expect", "explained",
  "explains", "exponent", "follow", "gaps", "given", "hints", "history", "largest", "layers", "layout",
  "leading", "level", "limits", "loaded", "longest", "magnitude", "mantissa", "narrow", "network",
  "numerator", "onDone", "onFollow", "onLook", "outputChannel", "outputs", "packed", "palette", "partials",
  "picture", "playground", "pointed", "practice", "precision", "present", "preset", "problems", "readers",
  "restore", "revision", "rounded", "rounds", "scale", "scales", "settle", "shares", "sheet", "slides",
  "smallestExponent", "snapshot", "stack", "stored", "taps", "tapsPresent", "tensors", "texts", "trail",
  "typed", "underway", "unread", "waiting", "which",
  // Of Preact's class components, of which there are none but its own.
  "componentDidCatch", "componentDidMount", "componentDidUpdate", "componentWillMount", "componentWillReceiveProps",
  "componentWillUnmount", "componentWillUpdate", "getChildContext", "getDerivedStateFromError",
  "forceUpdate", "getDerivedStateFromProps", "getSnapshotBeforeUpdate", "setState", "shouldComponentUpdate", "state",
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
    // The first with `round()`, which the grids need.
    cssTarget: ["chrome125", "firefox128", "safari17.4"],
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
