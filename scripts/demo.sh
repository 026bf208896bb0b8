#!/usr/bin/env bash
# usage: demo.sh BUILD_FOLDER. Makes a few videos through a daemon of its own; leaves them and a contact sheet in ./demo.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
out=demo
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
export FILOSCOPE_SOCKET=$work/filoscope.sock

"$build/filoscoped" --listen "$FILOSCOPE_SOCKET" --state "$work/state" --models Models >"$out/filoscoped.log" 2>&1 &
daemon=$!
finish() {
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
for _ in $(seq 200); do
    curl -sf --unix-socket "$FILOSCOPE_SOCKET" http://filoscope/readyz >/dev/null && break
    kill -0 "$daemon" 2>/dev/null || { cat "$out/filoscoped.log"; exit 1; }
    sleep 0.05
done

prompts=(
    "a red apple bouncing up and down on a green meadow"
    "a penguin moving right in the ocean"
    "a rocket rising up at night under the stars"
    "a butterfly moving left in a blue sky"
    "a soccer ball spinning around on the grass"
    "a frog growing bigger in front of a sunset"
)
inputs=() rows="" stack=""
for index in "${!prompts[@]}"; do
    prompt=${prompts[$index]}
    name=$(tr ' ' '-' <<<"$prompt")
    echo "$prompt"
    started=$(date +%s%N)
    "$build/filoscope" generate "$prompt" --seed 7 -o "$out/$name.mp4" --preview-dir "$out/previews"
    printf "  %d ms\n" $((($(date +%s%N) - started) / 1000000))
    inputs+=(-i "$out/$name.mp4")
    rows+="[$index:v]tile=17x1:padding=2[r$index];"
    stack+="[r$index]"
done
ffmpeg -v error -y "${inputs[@]}" -filter_complex "$rows${stack}vstack=inputs=${#prompts[@]}" -frames:v 1 "$out/contact-sheet.png"
echo "look at $out/contact-sheet.png, $out/*.mp4 and $out/previews/"
