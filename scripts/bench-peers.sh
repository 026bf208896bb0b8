#!/usr/bin/env bash
# Ours against ONNX Runtime, OpenVINO and PyTorch: linears, attention, whole steps; same shapes, weights and inputs, in
# turns on one CPU, so that a busy machine slows all alike. Says what it could not install.
# usage: bench-peers.sh [FILOSCOPE_BENCH [CPU [PART...]]]     parts as scripts/peers takes them; all without one
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
# FILOSCOPE_TORCH_INDEX may name an index with wheels for CPUs alone, a fraction of the size.
install torch torch ${FILOSCOPE_TORCH_INDEX:+--extra-index-url "$FILOSCOPE_TORCH_INDEX"}
if [ $# -gt 2 ]; then
    set -- "${@:3}"
else
    # Random weights in real shapes, made once.
    for name in nano-like wan2.1-t2v-1.3b; do
        [ -e "$venv/$name/model.json" ] || (cd Quantization &&
            PYTHONPATH=. "$venv/bin/python" -m filoscope_quantization convert --random "$name" "$venv/$name")
    done
    set -- linear attention step "$venv/nano-like" step "$venv/wan2.1-t2v-1.3b"
fi
exec taskset -c "$cpu" "$venv/bin/python" scripts/peers "$bench" "$@"
