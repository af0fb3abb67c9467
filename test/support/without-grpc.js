/** Preloaded into an exporter under test: as if the optional package for OTLP over gRPC were not installed. */
import { registerHooks } from "node:module";

const MISSING = "@opentelemetry/exporter-metrics-otlp-grpc";

registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== MISSING) return next(specifier, context);
    throw Object.assign(new Error(`Cannot find package '${MISSING}'`), { code: "ERR_MODULE_NOT_FOUND" });
  },
});
