import { buildFakeNvml } from "./nvml/fake-nvml.ts";

/** Compiles the fake driver library once for all workers; without a C compiler the run ends here with one line. */
export default function globalSetup(): void {
  try {
    buildFakeNvml();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
