#!/usr/bin/env bash
# Our int8 linears against those of ONNX Runtime, OpenVINO and PyTorch: same shapes, same weights, float32 in and out,
# in turns on one CPU, so that a busy machine slows all alike. Says what it could not install.
# usage: bench-peers.sh [FILOSCOPE_BENCH [CPU]]
set -euo pipefail
cd "$(dirname "$0")/.."

bench=${1:-.build/release/filoscope-bench}
cpu=${2:-0}
# Outside the tree: gigabytes of other people's programs.
venv=${FILOSCOPE_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/filoscope/peers}

[ -x "$bench" ] || { echo "$bench is missing: make build" >&2; exit 1; }
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
install() { # MODULE PACKAGE OPTIONS...
    local module=$1 package=$2
    shift 2
    "$venv/bin/python" -c "import $module" 2>/dev/null && return
    "$venv/bin/pip" install --quiet "$package" "$@" ||
        echo "not installed: $package (pip failed); left out"
}
install numpy numpy
install onnx onnx
install onnxruntime onnxruntime
install openvino openvino
# The CPU wheels are a fraction of the size; the default index has them for some architectures only.
install torch torch --extra-index-url "${FILOSCOPE_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
exec taskset -c "$cpu" "$venv/bin/python" scripts/bench_peers.py "$bench"
