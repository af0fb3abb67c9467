import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", "coverage/"] },
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "max-lines": ["error", 400],
      complexity: ["error", 22],
    },
  },
  {
    // Classic dashboards on purpose: Grafana 11 to 13 all load them from files, and v2 ones not.
    files: ["grafana/src/build.ts"],
    rules: { "@typescript-eslint/no-deprecated": "off" },
  },
  {
    files: ["src/**/*.ts"],
    ignores: ["src/cli.ts", "src/config/load.ts"],
    rules: {
      "no-restricted-properties": [
        "error",
        { object: "process", property: "env", message: "Only cli.ts and config/load.ts read the environment." },
        { object: "process", property: "argv", message: "Only cli.ts and config/load.ts read arguments." },
        { object: "process", property: "exit", message: "Only cli.ts ends the process." },
      ],
      "no-console": "error",
    },
  },
);
