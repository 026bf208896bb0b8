#!/bin/sh
# Previews as a video stream: of whatever is made, without end, or of one video with ID set.
#
#   relay.sh live.mp4
#   relay.sh /var/www/html/live.m3u8 -f hls -hls_time 2 -hls_flags delete_segments
#   relay.sh rtsp://media-server:8554/filoscope -f rtsp
#
# FPS and WIDTH (default 8 and 256) are what is asked of the daemon; ENCODER is ffmpeg's, as h264_v4l2m2m on a Raspberry Pi 4.
set -eu
output=$1
shift
curl -sSfN --unix-socket "${FILOSCOPE_SOCKET:-/run/filoscope/filoscope.sock}" \
    "http://filoscope${ID:+/v1/videos/$ID}/preview.mjpeg?fps=${FPS:-8}&width=${WIDTH:-256}" |
    ffmpeg -v error -y -use_wallclock_as_timestamps 1 -f mpjpeg -i - -vf "fps=${FPS:-8}" \
        -c:v "${ENCODER:-libx264}" -g 16 -pix_fmt yuv420p "$@" "$output"
