#!/usr/bin/env bash
# Compiles the example modules of sdk/ to build/guests/LANGUAGE/NAME.wasm, where their sources have changed since.
#
#   tools/guests.sh [cpp] [rust] [assemblyscript]    all of them when none is named
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/guests

cpp() {
  local f
  for f in sdk/cpp/examples/*.cc; do
    clang++-19 --target=wasm32-wasi -std=c++20 -Os -flto -fno-exceptions -fno-rtti -Wall -Wextra -Werror -mexec-model=reactor -Isdk/cpp/include \
      -Wl,--gc-sections,--strip-all "$f" -o "$out/cpp/$(basename "$f" .cc).wasm"
  done
}

rust() {
  CARGO_TARGET_WASM32_WASI_LINKER=wasm-ld-14 CARGO_TARGET_DIR=$PWD/$out/target build/deps/rust/bin/cargo build --quiet --offline --locked \
    --manifest-path sdk/rust/Cargo.toml --examples --release --target wasm32-wasi
  local f
  for f in sdk/rust/examples/*.rs; do cp "$out/target/wasm32-wasi/release/examples/$(basename "$f" .rs).wasm" "$out/rust/"; done
}

assemblyscript() {
  local f
  for f in sdk/assemblyscript/examples/*.ts; do
    node build/deps/assemblyscript/node_modules/assemblyscript/bin/asc.js "$f" -O3 --runtime minimal -o "$out/assemblyscript/$(basename "$f" .ts).wasm"
  done
}

build() { # LANGUAGE
  mkdir -p "$out/$1"
  exec 9> "$out/$1.lock"; flock 9  # tests may ask at the same time
  local want
  want=$({ cat tools/guests.sh; find "sdk/$1" -type f ! -path '*/node_modules/*' ! -path '*/template/*' ! -path '*/client/*' ! -name '*.md' ! -name 'testing.*' -print0 | sort -z | xargs -0 sha256sum; } | sha256sum)
  [ -f "$out/$1/.stamp" ] && [ "$(cat "$out/$1/.stamp")" = "$want" ] && return
  $1
  echo "$want" > "$out/$1/.stamp"
}

running=""
for language in ${@:-cpp rust assemblyscript}; do
  build "$language" &
  running="$running $!"
done
for pid in $running; do wait "$pid"; done
