/** What an alert says: one row holds the rule, its runbook and the two cases that test it. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** The thresholds of grafana/values.yaml. */
export interface Values {
  readonly jobs: string;
  readonly runbooks: string;
  readonly snapshotAgeSeconds: number;
  readonly collectorDurationSeconds: number;
  readonly workerRestartsPer30m: number;
  readonly timeoutsPer30m: number;
  readonly memoryUsedRatio: number;
  readonly foreignMemoryRatio: number;
  readonly slowdownMarginCelsius: number;
  readonly shutdownMarginCelsius: number;
  readonly correctedEccPerHour: number;
  readonly pcieReplaysPerHour: number;
  readonly serverFlaps: number;
  readonly loadsPer15m: number;
  readonly reloadsPer30m: number;
  readonly measuredOverReportedRatio: number;
  readonly reportedMinBytes: number;
  readonly xidWindowSeconds: number;
  readonly pcieBusyRatio: number;
  readonly softwareThermalRatio: number;
  readonly powerCappedRatio: number;
  readonly onGpuRatio: number;
  readonly idleUtilizationRatio: number;
  readonly slowerThanWeekRatio: number;
  readonly slowMinTokensPerSecond: number;
  readonly energyOverWeekRatio: number;
}

export const readValues = (): Values =>
  parse(readFileSync(new URL("../../values.yaml", import.meta.url), "utf8")) as Values;

export type Severity = "critical" | "warning" | "info";

/** Series of one promtool case: selector without job and instance -> values in promtool's notation, one per minute. */
export type Series = Readonly<Record<string, string>>;

export interface AlertCase {
  readonly series: Series;
  /** Minutes from the start. Of a case that fires: the first one in which it does. */
  readonly atMinute: number;
}

export interface AlertRow {
  readonly name: string;
  readonly expr: string;
  /** `0s` only for an event that has a window of its own. */
  readonly for: string;
  readonly severity: Severity;
  /** One line; `{{ $labels.gpu }}` and the like. */
  readonly summary: string;
  /** What to do. */
  readonly description: string;
  readonly runbook: {
    readonly meaning: string;
    readonly impact: string;
    readonly diagnosis: readonly string[];
    readonly fix: string;
  };
  /** Labels of the alert that fires, beside job, instance and severity. */
  readonly labels: Readonly<Record<string, string>>;
  readonly fires: AlertCase;
  /** Close to the threshold, on its other side. */
  readonly quiet: AlertCase;
  /** For a second threshold, or a second reason to stay quiet. */
  readonly alsoQuiet?: AlertCase;
  /** The alert has neither job nor instance of a target. */
  readonly withoutTarget?: true;
}

export interface AlertGroup {
  readonly name: "self" | "gpu" | "ollama";
  readonly alerts: readonly AlertRow[];
}

/** A recording rule. */
export interface RecordingRow {
  readonly record: string;
  readonly expr: string;
}
