#!/usr/bin/env bash
# Brings everything that a build needs, once: Debian packages, then the pinned libraries of tools/deps.lock into
# build/deps. Re-running it is cheap: each step is skipped when its stamp matches this script's inputs.
#
#   tools/setup.sh build    what `make build` needs
#   tools/setup.sh demo     the same, and what the demo's client needs
#   tools/setup.sh guests   the compilers of smart modules, for tools/guests.sh
#   tools/setup.sh test     all that, and the clients and servers that the tests talk to
set -euo pipefail
cd "$(dirname "$0")/.."
deps=build/deps
mkdir -p "$deps"

build_packages="build-essential ca-certificates ccache clang-19 clang-format-19 clang-tidy-19 cmake libabsl-dev libboost1.81-dev
  libcli11-dev libclang-rt-19-dev libfmt-dev libgmock-dev libgtest-dev libbenchmark-dev liblz4-dev libpq-dev libre2-dev librdkafka-dev libsimdjson-dev
  libsnappy-dev libspdlog-dev libssl-dev liburing-dev libxxhash-dev libzstd-dev lld-19 llvm-19 ninja-build pkg-config
  prometheus-cpp-dev python3 python3-venv zlib1g-dev zstd"
guest_packages="clang-19 libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32 libcurl3-gnutls libgit2-1.5 libllvm14 libssh2-1 lld-14 lld-19 nodejs wasi-libc"
test_packages="curl kcat maven openjdk-17-jdk-headless postgresql-client $guest_packages"

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

apt_packages() {
  local missing="" p
  for p in $1; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"; done
  [ -z "$missing" ] && return
  local sudo=""
  if [ "$(id -u)" != 0 ]; then sudo=sudo; command -v sudo > /dev/null || die "run as root, or install:$missing"; fi
  say "installing Debian packages:$missing"
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing > "$deps/apt.log" 2>&1 ||
    { tail -20 "$deps/apt.log" >&2; die "apt-get install failed (whole log: $deps/apt.log)"; }
}

pinned() { awk -v n="$1" -v f="$2" '$1 == n {print $f}' tools/deps.lock; }
verify() { # NAME FILE
  local want have
  want=$(pinned "$1" 3); have=$(sha256sum "$2" | cut -d' ' -f1)
  [ "$want" = "$have" ] || die "$1: sha256 of $2 is $have, tools/deps.lock says $want"
}

crate() { # SPEC FOLDER: brings the archive of crate:NAME@VERSION through cargo, prints its path
  local spec=${1#crate:} t=$2
  command -v cargo > /dev/null || apt_packages cargo-web >&2  # of the two in Debian the one that can reach the registry
  mkdir -p "$t/crate/src"
  printf '[package]\nname = "deps"\nversion = "0.0.0"\nedition = "2018"\n[dependencies]\n%s = "=%s"\n' "${spec%@*}" "${spec#*@}" > "$t/crate/Cargo.toml"
  : > "$t/crate/src/lib.rs"
  (cd "$t/crate" && CARGO_HOME="$PWD/../cargo" cargo fetch --quiet) >&2
  find "$t/cargo" -name "${spec/@/-}.crate"
}

duckdb() {
  local stamp="$deps/duckdb/.stamp" want
  want=$(grep '^duckdb' tools/deps.lock | sha256sum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
  command -v npm > /dev/null || apt_packages npm
  say "DuckDB: library (npm) and headers (crates)"
  local t="$deps/tmp"; rm -rf "$t" "$deps/duckdb"; mkdir -p "$t" "$deps/duckdb/lib"
  local spec; spec=$(pinned duckdb-lib 2)
  (cd "$t" && npm pack --silent "${spec#npm:}" > lib.name)
  verify duckdb-lib "$t/$(cat "$t/lib.name")"
  tar xzf "$t/$(cat "$t/lib.name")" -C "$t"
  mv "$t/package/libduckdb.so" "$deps/duckdb/lib/"
  spec=$(pinned duckdb-headers 2)
  local archive; archive=$(crate "$spec" "$PWD/$t")
  spec=${spec#crate:}
  verify duckdb-headers "$archive"
  tar xzf "$archive" -C "$t"
  tar xzf "$t/${spec/@/-}/duckdb.tar.gz" -C "$t"
  mv "$t/duckdb/src/include" "$deps/duckdb/include"
  rm -rf "$t"
  echo "$want" > "$stamp"
}

# The library as Python's package has it, with every feature; the headers of the same version, told so.
wasmtime() {
  local stamp="$deps/wasmtime/.stamp" want
  want=$(grep '^wasmtime' tools/deps.lock | sha256sum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
  say "wasmtime: library (pip) and headers (crates)"
  local t="$deps/tmp-wasmtime"; rm -rf "$t" "$deps/wasmtime"; mkdir -p "$t" "$deps/wasmtime/lib"
  local spec; spec=$(pinned wasmtime-lib 2)
  python3 -m venv "$t/venv"
  "$t/venv/bin/pip" download --quiet --no-deps --dest "$t/wheel" "${spec#pip:}"
  verify wasmtime-lib "$t"/wheel/*.whl
  python3 -m zipfile -e "$t"/wheel/*.whl "$t/wheel"
  mv "$t"/wheel/wasmtime/linux-x86_64/_libwasmtime.so "$deps/wasmtime/lib/libwasmtime.so"
  spec=$(pinned wasmtime-headers 2)
  local archive; archive=$(crate "$spec" "$PWD/$t")
  spec=${spec#crate:}
  verify wasmtime-headers "$archive"
  tar xzf "$archive" -C "$t"
  mv "$t/${spec/@/-}/include" "$deps/wasmtime/include"
  sed 's/#cmakedefine/#define/' "$deps/wasmtime/include/wasmtime/conf.h.in" > "$deps/wasmtime/include/wasmtime/conf.h"
  rm -rf "$t"
  echo "$want" > "$stamp"
}

python_env() { # NAME REQUIREMENTS
  local venv="$deps/$1" want
  want=$(sha256sum "$2")
  [ -f "$venv/.stamp" ] && [ "$(cat "$venv/.stamp")" = "$want" ] && return
  say "Python environment for $2"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --require-hashes -r "$2"
  echo "$want" > "$venv/.stamp"
}

npm_packages() { # NAME FOLDER WHAT [OPTION]: those of the lock file in FOLDER, into build/deps/NAME
  local folder="$deps/$1" from=$2 want
  want=$(sha256sum "$from/package-lock.json")
  [ -f "$folder/.stamp" ] && [ "$(cat "$folder/.stamp")" = "$want" ] && return
  command -v npm > /dev/null || apt_packages npm
  say "$3 for $from"
  rm -rf "$folder"; mkdir -p "$folder"
  cp "$from/package.json" "$from/package-lock.json" "$folder/"
  npm ci --silent --ignore-scripts ${4:+"$4"} --prefix "$folder"
  echo "$want" > "$folder/.stamp"
}
node_clients() { npm_packages test-js test/clients/suites/js "JavaScript clients" --omit=dev; }
assemblyscript() { npm_packages assemblyscript sdk/assemblyscript AssemblyScript; }

# Debian's Rust with its standard library for WebAssembly, unpacked and not installed: cargo-web, which brings DuckDB's
# headers, is in conflict with it, and has no such library.
rust_wasm() {
  local folder="$deps/rust" packages="rustc cargo libstd-rust-1.63 libstd-rust-dev libstd-rust-dev-wasm32"
  [ -f "$folder/.stamp" ] && [ "$(cat "$folder/.stamp")" = "$packages" ] && return
  say "Rust with WebAssembly, for sdk/rust"
  rm -rf "$folder"; mkdir -p "$folder/packages" "$folder/bin"
  # shellcheck disable=SC2086
  (cd "$folder/packages" && apt-get download -qq $packages > apt.log 2>&1) || { apt-get update -qq; (cd "$folder/packages" && apt-get download -qq $packages > apt.log 2>&1); } ||
    { tail -5 "$folder/packages/apt.log" >&2; die "apt-get download $packages failed"; }
  local p; for p in "$folder"/packages/*.deb; do dpkg -x "$p" "$folder"; done
  rm -rf "$folder/packages" "$folder/usr/share" "$folder/usr/lib/rustlib/wasm32-unknown-unknown"
  for p in rustc cargo; do
    printf '#!/bin/sh\nhere=$(dirname "$(dirname "$(realpath "$0")")")\nexport RUSTC="$here/bin/rustc" LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu"\nexec "$here/usr/bin/%s" "$@"\n' $p > "$folder/bin/$p"
    chmod +x "$folder/bin/$p"
  done
  echo "$packages" > "$folder/.stamp"
}

# The clients in Go want a younger Go than Debian's. Where the one at hand is too old, it brings the pinned toolchain as a module.
go_clients() {
  local from=test/clients/suites/go want go=go need version spec
  want=$(sha256sum "$from/go.sum" "$from"/*/*.go)
  [ -f "$deps/test-go/.stamp" ] && [ "$(cat "$deps/test-go/.stamp")" = "$want" ] && return
  say "Go clients for $from"
  rm -rf "$deps/test-go"; mkdir -p "$deps/test-go"
  command -v go > /dev/null || apt_packages golang-go
  need=$(awk '$1 == "go" {print $2}' "$from/go.mod")
  version=$(GOTOOLCHAIN=local go env GOVERSION); version=${version#go}
  if [ "$(printf '%s\n' "$need" "$version" | sort -V | head -1)" != "$need" ]; then
    spec=$(pinned go-toolchain 2)
    go=$PWD/$deps/go/bin/go
    if [ ! -x "$go" ]; then
      local t="$deps/tmp-go" zip; rm -rf "$t"; mkdir -p "$t"
      (cd "$t" && GOFLAGS=-modcacherw GOPATH="$PWD/path" go mod download "${spec#go:}" > /dev/null 2>&1) || die "${spec#go:} did not come"
      zip=$(find "$t/path/pkg/mod/cache/download" -name '*.zip')
      verify go-toolchain "$zip"
      mv "$(find "$t/path/pkg/mod/golang.org" -maxdepth 1 -name 'toolchain@*')" "$deps/go"
      chmod -R u+w "$deps/go"; chmod +x "$deps"/go/bin/* "$deps"/go/pkg/tool/*/*
      rm -rf "$t"
    fi
  fi
  (cd "$from" && for client in franz sarama; do GOTOOLCHAIN=local GOFLAGS=-mod=readonly "$go" build -trimpath -o "$OLDPWD/$deps/test-go/$client" "./$client"; done)
  echo "$want" > "$deps/test-go/.stamp"
}

case "${1:-}" in
  build) apt_packages "$build_packages"; duckdb; wasmtime ;;
  demo) "$0" build; python_env demo-venv examples/flights/requirements.txt ;;
  test) "$0" build; apt_packages "$test_packages"; python_env test-venv test/requirements.txt; node_clients; go_clients; assemblyscript; rust_wasm ;;
  guests) apt_packages "$guest_packages"; assemblyscript; rust_wasm ;;
  *) sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
