#!/bin/sh
# Makes a video each time FILE is written: what a GPIO script touches, a doorbell, a cron job. The newest is VIDEO.
#
#   VIDEO=/var/www/html/door.mp4 trigger.sh /run/doorbell "a dog jumping on the grass"
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
