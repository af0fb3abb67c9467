/** PromQL selectors of the dashboards: every one is bound to job and instance, so that "GPU 0" never means another host's. */

const TARGET = 'job=~"$job", instance=~"$instance"';
const join = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join(", ");

/** A family of the exporter itself. */
export const own = (family: string, more = ""): string => `${family}{${join(TARGET, more)}}`;

/** A family with the label `gpu`. */
export const gpu = (family: string, more = ""): string => `${family}{${join(TARGET, 'gpu=~"$gpu"', more)}}`;

/** Boards only: a MIG instance's memory is its board's too, and would count twice in a sum. */
export const board = (family: string, more = ""): string => gpu(family, join('gpu!~".+:.+"', more));

/** What a model can be put on: boards and MIG instances, but not a board that is cut into instances. */
export const placeable = (family: string): string =>
  `(${gpu(family)} unless on (job, instance, gpu) ${gpu("gpu_mig_mode_enabled")} == 1)`;

/** A family with the label `server`. */
export const server = (family: string, more = ""): string => own(family, join('server=~"$server"', more));

/** A family with the labels `server` and `model`. */
export const model = (family: string, more = ""): string => server(family, join('model=~"$model"', more));

/** A family with the labels `server`, `model` and `gpu`. */
export const modelGpu = (family: string, more = ""): string => model(family, join('gpu=~"$gpu"', more));

/** Growth per second of a counter. */
export const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;

/** Growth of a counter over what the board shows. */
export const increase = (selector: string): string => `increase(${selector}[$__range])`;

/** Growth of a counter from point to point of a chart. */
export const steps = (selector: string): string => `increase(${selector}[$__rate_interval])`;

/** How many series are at 0: none is a real 0 while there are series, and nothing where there are none. */
export const zeros = (selector: string): string => `count(${selector} == 0) or 0 * count(${selector})`;
