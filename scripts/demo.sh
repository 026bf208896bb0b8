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

# One video by each ability, and a strip of twelve of its frames.
abilities=$out/abilities
mkdir "$abilities"
# ability NAME COMMAND...: sets `id` to the video's.
ability() {
    local name=$1 answer frames
    shift
    printf '%-12s filoscope' "$name"
    printf ' %q' "$@"
    echo
    answer=$("$build/filoscope" "$@" --seed 7 --json -o "$abilities/$name.mp4")
    id=$(sed -n 's/.*"id" *: *"\([^"]*\)".*/\1/p' <<<"$answer" | head -1)
    frames=$(sed -n 's/.*"frames" *: *\([0-9]*\).*/\1/p' <<<"$answer" | head -1)
    ffmpeg -v error -y -i "$abilities/$name.mp4" -frames:v 1 -q:v 2 -vf \
        "select='gt(floor((n+1)*12/$frames)\,floor(n*12/$frames))',tile=12x1:padding=2:color=gray" "$abilities/$name.jpg"
}
"$build/filoscope" image "a sailboat moving right at sunset" --seed 7 -o "$abilities/still.png"
ability long generate "a turtle moving left in the desert" --seconds 60
ability landscape generate "a car moving left in the snow" --size 96x64
ability portrait generate "a rocket rising up at night" --size 64x96
ability first-frame generate "a sailboat moving right at sunset" --image "$abilities/still.png"
ability both-ends generate "a sailboat moving right at sunset" --image "$abilities/still.png" --end-image "$abilities/still.png"
ability loop generate "a sunflower spinning around on a white background" --loop
ability apple generate "a red apple bouncing on the grass"
apple=$id
ability frog generate "a frog growing bigger in the snow"
frog=$id
ability forward extend "$apple" "a red apple bouncing on the grass" --seconds 2
ability backward extend "$apple" "a red apple moving right on the grass" --seconds 2 --backward
ability remix remix "$apple" "a soccer ball bouncing at night"
ability edit edit "$apple" "a soccer ball bouncing on the grass" --strength 0.7
ability blend blend "$apple" "$frog"
ability storyboard storyboard "0:a helicopter moving right in the sky" "3:a helicopter moving right at sunset" --seconds 6
echo "look at $out/contact-sheet.png, $abilities/*.jpg, the videos beside them and $out/previews/"
