# The Node that the tests run on (package.json, devDependencies); glibc, because the driver's library needs it.
ARG NODE_TAG=24.21.0-bookworm-slim

FROM node:${NODE_TAG} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
ARG REVISION=""
# gitHead is what build_info shows as the revision.
RUN npm run build && npm prune --omit=dev && npm pkg set gitHead="${REVISION}"

FROM node:${NODE_TAG}
ARG NODE_TAG
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="ollama-gpu-exporter" \
      org.opencontainers.image.description="Which Ollama model holds which bytes on which GPU: a Prometheus and OpenTelemetry exporter" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/ollama-gpu-exporter/ollama-gpu-exporter" \
      org.opencontainers.image.documentation="https://github.com/ollama-gpu-exporter/ollama-gpu-exporter/blob/main/deploy/README.md" \
      org.opencontainers.image.base.name="docker.io/library/node:${NODE_TAG}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The NVIDIA container runtime mounts the driver's library for these; run with --pid=host to see the runners.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=utility NODE_ENV=production
WORKDIR /app
# Manifests stay beside the code, so that scanners can list what is inside.
COPY LICENSE ./
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER 65532:65532
EXPOSE 9434
# Alive, not healthy GPUs: a failing driver must stay visible in the metrics.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9434/-/healthy').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
