#!/usr/bin/env bash
# clang-format in check mode, then clang-tidy over src/ (or over the files given), two at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files 'src/*.h' 'src/*.cc' 'test/*.cc' 'bench/*.cc' 'sdk/cpp/client/*.h' 'sdk/cpp/client/*.cc' | xargs clang-format-19 --dry-run --Werror
files=${*:-$(git ls-files 'src/*.cc')}
# Precompiled headers were made by the compiler, not by clang-tidy: it reads the headers themselves.
mkdir -p build/tidy
sed -E 's/ -Winvalid-pch//; s/-Xclang -include-pch -Xclang [^ ]+ //g' build/release/compile_commands.json > build/tidy/compile_commands.json
log=build/tidy/log
good=0
printf '%s\n' $files | xargs -P 2 -n 4 clang-tidy-19 --quiet -p build/tidy > "$log" 2>&1 || good=1
grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header' "$log" || true
exit $good
