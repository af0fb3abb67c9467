#!/usr/bin/env bash
# From a clean checkout to the files of a release: install, audit, check, test, package, bills of materials. Publishes nothing.
#   scripts/release.sh [--without-audit] [FOLDER]       default folder: release
# --without-audit is for a registry mirror that does not answer audits: say in the release notes that none was made.
set -euo pipefail
cd "$(dirname "$0")/.."
audit=yes
if [ "${1:-}" = --without-audit ]; then audit=no; shift; fi

if [ -n "$(git status --porcelain)" ]; then
  echo "release: the checkout has changes; commit or stash them" >&2
  exit 1
fi
npm ci
if [ "$audit" = yes ]; then
  npm audit --omit dev # ends here when something is known, and when the registry does not answer
else
  echo "release: NOT AUDITED, as asked for" >&2
fi
npm run --silent lint
npm run --silent typecheck
npm run --silent docs:check
npm run --silent grafana:check
npm test
bash scripts/artifacts.sh "${1:-release}"
