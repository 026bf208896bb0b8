#!/usr/bin/env bash
# usage: install.sh BUILD_FOLDER DESTDIR PREFIX
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 destdir=$2 prefix=$3

install -d "$destdir$prefix/bin"
install -s -m 755 "$build/filoscoped" "$build/filoscope" "$build/filoscope-bench" "$destdir$prefix/bin/"
for model in Models/*/; do
    name=$(basename "$model")
    install -d "$destdir$prefix/share/filoscope/models/$name"
    install -m 644 "$model"* "$destdir$prefix/share/filoscope/models/$name/"
done
install -d "$destdir$prefix/share/doc/filoscope"
install -m 644 README.md LICENSE docs/kiosk.md "$destdir$prefix/share/doc/filoscope/"
install -d "$destdir/usr/lib/systemd/system" "$destdir/usr/lib/sysusers.d" "$destdir/usr/lib/tmpfiles.d"
sed "s#/usr/bin/filoscoped#$prefix/bin/filoscoped#; s#/usr/share/filoscope#$prefix/share/filoscope#" \
    systemd/filoscoped.service >"$destdir/usr/lib/systemd/system/filoscoped.service"
chmod 644 "$destdir/usr/lib/systemd/system/filoscoped.service"
install -m 644 systemd/*.socket systemd/filoscope-kiosk.service "$destdir/usr/lib/systemd/system/"
install -m 644 systemd/filoscope.sysusers.conf "$destdir/usr/lib/sysusers.d/filoscope.conf"
install -m 644 systemd/filoscope.tmpfiles.conf "$destdir/usr/lib/tmpfiles.d/filoscope.conf"
echo "installed under $destdir$prefix; next: systemd-sysusers; systemctl enable --now filoscoped.socket; for browsers too: filoscope-kiosk.socket"
