import unit from "./jest.config.js";

/** Suites against real components (Prometheus, promtool, ...), which test/real/provision.sh installs. */
export default {
  ...unit,
  roots: ["<rootDir>/test/real"],
  testPathIgnorePatterns: ["/node_modules/"],
  testTimeout: 120_000,
};
