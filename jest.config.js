/** Unit and integration tests: offline, parallel, fakes only. */
export default {
  rootDir: import.meta.dirname,
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/real/"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  testEnvironment: "node",
  // Most tests wait for processes that they have started, so one worker for each core but one leaves cores idle.
  maxWorkers: 3,
  // A limit for what hangs, not a measure of speed: a machine that others use too is slower by whatever they take.
  testTimeout: 30_000,
  globalSetup: "<rootDir>/test/support/global-setup.ts",
};
