/** Unit and integration tests: offline, parallel, fakes only. */
export default {
  rootDir: import.meta.dirname,
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/real/"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  testEnvironment: "node",
  globalSetup: "<rootDir>/test/support/global-setup.ts",
};
