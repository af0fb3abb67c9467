/** Unit and integration tests: offline, parallel, fakes only. */
export default {
  rootDir: import.meta.dirname,
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/real/"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  testEnvironment: "node",
  // A limit for what hangs, not a measure of speed: a machine that others use too is slower by whatever they take.
  testTimeout: 30_000,
  globalSetup: "<rootDir>/test/support/global-setup.ts",
};
