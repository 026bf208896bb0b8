#!/usr/bin/env bash
# Formatting, and the arrows between rooms: who may import what (docs/architecture.md).
set -euo pipefail
cd "$(dirname "$0")/.."

swift format lint --strict --recursive --parallel --configuration .swift-format Package.swift Sources Tests

failed=0
# only ROOMS MODULE: MODULE may be imported under these rooms alone (a regular expression of room names).
only() {
    local found
    found=$(grep -rnE "^[[:space:]]*(@[A-Za-z_]+(\([A-Za-z_]*\))?[[:space:]]+)*(internal |private |public )?import (struct |class |enum |func )?($2)([. ]|$)" \
        --include='*.swift' Sources | grep -vE "^Sources/($1)/" || true)
    if [ -n "$found" ]; then
        echo "$found"
        echo "error: only $1 may import $2"
        failed=1
    fi
}
only 'Engine' 'CKernels'
only 'Service' 'NIO[A-Za-z0-9]*'
only 'Host' 'CSystemd'
only 'Media' 'CTurboJPEG|CPNG|COpenH264'
only 'Camera' 'CVideo4Linux'
only 'Service|filoscoped|filoscope|filoscope-bench' 'Camera'
only 'Generation|Models|filoscope-bench' 'Engine'
only 'Generation|filoscope-bench' 'Models'
only 'filoscoped|filoscope-bench' 'Generation'
only 'Service|Generation|filoscoped|filoscope-bench' 'Jobs'
only 'filoscoped' 'Host|Service'
only 'filoscope' 'Client'
only 'Engine|Generation|Jobs|Camera|Service|Host|filoscoped|filoscope-bench' 'Threads'
only '-' 'Foundation'
# The thread sanitizer does not see the calls of this lock and reports races where there are none.
if grep -rnE '\bMutex[<(]' --include='*.swift' Sources Tests; then
    echo "error: use Threads' Locked instead of Synchronization.Mutex"
    failed=1
fi
# A second test of one name takes the place of the first, which then never runs.
for file in Tests/*/test_*.py Quantization/tests/test_*.py; do
    twice=$(grep -oE '^(async )?def test_\w+' "$file" | sort | uniq -d)
    if [ -n "$twice" ]; then
        echo "error: $file has two of: $twice"
        failed=1
    fi
done
[ "$failed" -eq 0 ] && echo "lint: clean"
exit "$failed"
