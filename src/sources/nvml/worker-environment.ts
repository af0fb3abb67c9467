/** What the worker process, and so the driver's library, is given of this process's environment. */

/** Where the loader and the driver look for libraries and devices. */
const DRIVERS_OWN = /^(?:LD_|NVIDIA_|CUDA_|NVML_)/;
/** Our options, those of OpenTelemetry and Ollama, proxies with their passwords, and what Node and npm would act on. */
const OTHERS = /^(?:OLLAMA_|OTEL_|NODE_|npm_)|_?proxy$/i;
/** Of names, what they mostly hold. */
const SECRETS =
  /token|secret|passw|passphrase|pwd$|credential|auth|cookie|bearer|private|api_?key|access_?key|_key$|_dsn$|_pat$/i;
const PASSWORD_IN_URL = /:\/\/[^/\s]*@/;

/**
 * Everything but what is not the driver's business. Not a list of what is allowed: a driver, or a layer over it, reads variables
 * of names that nobody here knows. A value with a password in a URL is left out whatever its name.
 */
export function workerEnvironment(env: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value !== undefined && (DRIVERS_OWN.test(name) || isHarmless(name, value)) ? [[name, value] as const] : [],
    ),
  );
}

const isHarmless = (name: string, value: string): boolean =>
  !OTHERS.test(name) && !SECRETS.test(name) && !PASSWORD_IN_URL.test(value);
