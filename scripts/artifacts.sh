#!/usr/bin/env bash
# Writes what a release consists of into a folder: the package, its bills of materials and their digests. Publishes nothing.
#   scripts/artifacts.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mkdir -p "$1" && cd "$1" && pwd)

rm -rf dist # of sources that are no longer there
npm run --silent build
package=$(npm pack --silent --ignore-scripts --pack-destination "$folder")
base=$folder/${package%.tgz}

# npm calls the project by its folder, so it gets one of the right name; the lockfile alone says what will be installed.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/ollama-gpu-exporter"
npx --no-install node scripts/without-development.ts "$work/ollama-gpu-exporter"
for format in cyclonedx spdx; do
  (cd "$work/ollama-gpu-exporter" && npm sbom --package-lock-only --sbom-format "$format") >"$base.$format.json"
done

cd "$folder"
sha256sum "$package" "${package%.tgz}".*.json >"${package%.tgz}.sha256"
ls -l "${package%.tgz}"*
