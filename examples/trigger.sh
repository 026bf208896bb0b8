#!/bin/sh
# Makes a video each time FILE is written: what a GPIO script touches, a doorbell, a cron job. The newest is VIDEO.
#
#   VIDEO=/var/www/html/door.mp4 trigger.sh /run/doorbell "a dog jumping on the grass"
#
# The same without a program of ours, as one line:
#   inotifywait -mqe close_write /run/doorbell | while read -r _; do curl -s --unix-socket "$FILOSCOPE_SOCKET" \
#       http://filoscope/v1/videos -H 'Content-Type: application/json' -d '{"prompt": "a dog jumping"}'; done
set -eu
file=$1 prompt=$2 video=${VIDEO:-video.mp4}
written() { stat -c %y "$file" 2>/dev/null || true; }
before=$(written)
while sleep 1; do
    now=$(written)
    if [ -z "$now" ] || [ "$now" = "$before" ]; then continue; fi
    before=$now
    # Under another name first: who reads VIDEO never sees half of it.
    filoscope generate "$prompt" --output "$video.part.mp4" && mv "$video.part.mp4" "$video"
done
