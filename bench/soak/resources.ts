/** Memory and file descriptors over the run: is there a slope? */
import { readdirSync, readFileSync } from "node:fs";

export interface Sample {
  readonly atSeconds: number;
  /** Proportional set size of parent and worker, MB. */
  readonly pssMb: number;
  /** What of the parent's JavaScript heap has outlived a collection, by its own metrics, MB. */
  readonly oldMb: number;
  readonly descriptors: number;
}

export function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

/** When a process started, in clock ticks: with its PID the same process for sure. Undefined when it is gone. */
export function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Undefined while there is no worker, whose memory would be missing. */
export function sampleOf(pid: number, { atSeconds, oldMb }: Pick<Sample, "atSeconds" | "oldMb">): Sample | undefined {
  try {
    const [worker, ...others] = childrenOf(pid);
    if (worker === undefined || others.length > 0) return undefined;
    return {
      atSeconds,
      oldMb,
      pssMb: pssMb(pid) + pssMb(worker),
      descriptors: descriptors(pid) + descriptors(worker),
    };
  } catch {
    return undefined; // the worker ended meanwhile
  }
}

const pssMb = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]) / 1024;

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

export interface Slope {
  readonly perHour: number;
  /** By the fitted line from the first to the last sample. */
  readonly growth: number;
  readonly median: number;
  readonly points: number;
}

const WINDOWS = 16;

/**
 * The median of the slopes between all pairs of points (Theil and Sen), so that single peaks do not count. A point is the
 * lowest of its window: what a collection leaves, not what waits for one.
 */
export function slopeOf(samples: readonly Sample[], value: (sample: Sample) => number): Slope | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.atSeconds === first.atSeconds) return undefined;
  const span = last.atSeconds - first.atSeconds;
  const windows = Map.groupBy(samples, ({ atSeconds }) =>
    Math.min(WINDOWS - 1, Math.floor(((atSeconds - first.atSeconds) / span) * WINDOWS)),
  );
  const points = [...windows.values()].flatMap((group) => group.toSorted((a, b) => value(a) - value(b))[0] ?? []);
  const slopes = points.flatMap((a, index) =>
    points.slice(index + 1).map((b) => (value(b) - value(a)) / (b.atSeconds - a.atSeconds)),
  );
  if (points.length < WINDOWS / 2) return undefined;
  const perSecond = medianOf(slopes);
  return {
    perHour: perSecond * 3600,
    growth: perSecond * span,
    median: medianOf(samples.map(value)),
    points: points.length,
  };
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
