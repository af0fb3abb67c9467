#!/usr/bin/env bash
# Installs the real components that the integration tests and checks run against.
#
#   provision.sh [--force] [TOOL|GROUP ...]     default group: core
#   provision.sh --list                         what there is, and what is installed
#
# Everything goes to $TOOLS_DIR (default ~/.cache/ollama-gpu-exporter-tools): programs in bin/,
# data in share/, one stamp per tool in stamps/, one log per tool in log/. A tool whose stamp
# matches is skipped, so a second run takes a second.
# Packages are named, never hosts: go and pip fetch them as this machine is set up.
# Building fills Go's module and build caches with some GB.
set -uo pipefail

TOOLS_DIR=${TOOLS_DIR:-$HOME/.cache/ollama-gpu-exporter-tools}
JOBS=${PROVISION_JOBS:-$(nproc 2>/dev/null || echo 2)}   # compile steps side by side
LIMIT=${PROVISION_TIMEOUT:-1800}                         # seconds for one client command

declare -A V=(
  [prometheus]=0.316.0            # the Go module's number of Prometheus 3.16.0
  [promtool]=0.316.0
  [vegeta]=12.13.0
  [python-tools]=1.45.2           # the OpenTelemetry SDK's
)
declare -A GROUPS_=([core]="prometheus promtool python-tools" [bench]="vegeta")
GROUPS_[all]="${GROUPS_[core]} ${GROUPS_[bench]}"
TOOLS=${GROUPS_[all]}

say() { printf '%s\n' "$*"; }
die() { printf 'provision: %s\n' "$*" >&2; exit 2; }
fail() { printf 'provision: %s: %s\n' "$NAME" "$*" >&2; return 1; }
need() { command -v "$1" >/dev/null || fail "needs '$1' on PATH${2:+ ($2)}"; }

# run CMD...: output to the tool's log; on failure its last lines go to stderr.
run() {
  if ! timeout "$LIMIT" "$@" >>"$LOG" 2>&1; then
    fail "this failed: $*"
    tail -n 12 "$LOG" | sed 's/^/    /' >&2
    say "    whole log: $LOG" >&2
    return 1
  fi
}

put() { mkdir -p "$TOOLS_DIR/bin" && chmod 755 "$1" && mv -f "$1" "$TOOLS_DIR/bin/$NAME"; }

# from_go PACKAGE [TAGS] [LDFLAGS]
from_go() {
  need go || return
  run env GOBIN="$WORK/bin" go install -p "$JOBS" -trimpath -tags "${2:-}" -ldflags "-s -w ${3:-}" "$1@v${V[$NAME]}" || return
  put "$WORK"/bin/*
}

# from_venv PROGRAM PACKAGE==VERSION...: a virtual environment of its own; bin/$NAME starts its PROGRAM
from_venv() {
  need python3 || return
  local program=$1 dir="$TOOLS_DIR/venv/$NAME"; shift
  rm -rf "$dir"
  run python3 -m venv "$dir" || return
  run "$dir/bin/python" -m pip install --disable-pip-version-check "$@" || return
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$dir/bin/$program" >"$WORK/start"
  put "$WORK/start"
}

SD_TAGS=netgo,remove_all_sd     # static, file and http discovery only: half the dependencies
install_prometheus() {
  from_go github.com/prometheus/prometheus/cmd/prometheus $SD_TAGS "-X github.com/prometheus/common/version.Version=3.${V[$NAME]#0.3}"
}
install_promtool() {
  from_go github.com/prometheus/prometheus/cmd/promtool $SD_TAGS "-X github.com/prometheus/common/version.Version=3.${V[$NAME]#0.3}"
}
install_vegeta() { from_go github.com/tsenart/vegeta/v12 "" "-X main.Version=v${V[$NAME]}"; }

# A second opinion on our formats: reference OTLP sender and reference OpenMetrics parser.
install_python_tools() {
  from_venv python prometheus-client==0.26.0 "opentelemetry-sdk==${V[$NAME]}" "opentelemetry-exporter-otlp-proto-http==${V[$NAME]}"
}

# A stamp holds the version and a sum of the recipe, so a change of either installs anew.
want() {
  local f="install_${1//-/_}"
  printf '%s %s\n' "${V[$1]}" "$(declare -f "$f" | cksum | tr ' ' -)"
}
present() { [ -x "$TOOLS_DIR/bin/$1" ]; }
current() { present "$1" && [ "$(cat "$TOOLS_DIR/stamps/$1" 2>/dev/null)" = "$(want "$1")" ]; }

one() {
  NAME=$1 LOG="$TOOLS_DIR/log/$1.log"
  if [ -z "$FORCE" ] && current "$NAME"; then say "have      $NAME"; return; fi
  say "install   $NAME ..."
  local t0=$SECONDS rc=0
  : >"$LOG"
  WORK=$(mktemp -d "$TOOLS_DIR/tmp.XXXXXX")
  rm -f "$TOOLS_DIR/stamps/$NAME"
  "install_${NAME//-/_}" || rc=1
  chmod -R u+w "$WORK" && rm -rf "$WORK"
  if [ $rc = 0 ] && ! present "$NAME"; then fail "installed, but the program is not there"; rc=1; fi
  [ $rc = 0 ] && want "$NAME" >"$TOOLS_DIR/stamps/$NAME" && say "installed $NAME ($((SECONDS - t0)) s)"
  return $rc
}

FORCE='' ASK=()
for a in "$@"; do
  case $a in
    --force) FORCE=1 ;;
    --list)
      for g in core lint extra peers all; do say "group $g: ${GROUPS_[$g]}"; done
      for t in $TOOLS; do if current "$t"; then say "  installed  $t"; else say "  -          $t"; fi; done
      exit 0 ;;
    -h | --help) sed -n '3,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) die "unknown option '$a' (see --help)" ;;
    *)
      if [ -n "${GROUPS_[$a]:-}" ]; then read -ra more <<<"${GROUPS_[$a]}"; ASK+=("${more[@]}")
      elif [[ " $TOOLS " == *" $a "* ]]; then ASK+=("$a")
      else die "unknown tool or group '$a'; groups: ${!GROUPS_[*]}; tools: $TOOLS"; fi ;;
  esac
done
[ ${#ASK[@]} -gt 0 ] || read -ra ASK <<<"${GROUPS_[core]}"

mkdir -p "$TOOLS_DIR"/{bin,share,stamps,log} 2>/dev/null || die "cannot write to $TOOLS_DIR"
exec 9>"$TOOLS_DIR/.lock"
flock -n 9 || { say "another provision.sh is at work in $TOOLS_DIR; waiting for it"; flock 9; }
rm -rf "$TOOLS_DIR"/tmp.??????
FAILED=()
for t in "${ASK[@]}"; do one "$t" || FAILED+=("$t"); done
[ ${#FAILED[@]} -eq 0 ] || die "not installed: ${FAILED[*]}"
say "ready: PATH=$TOOLS_DIR/bin:\$PATH"
