#!/usr/bin/env bash
# Brings the Java clients that the tests run: Apache Kafka's tools and the PostgreSQL JDBC driver, pinned in pom files.
#   setup.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"; folder=$(cd "$1" && pwd)
for name in kafka pgjdbc; do
  want=$(sha256sum < "$here/$name.xml")
  [ -f "$folder/$name/.stamp" ] && [ "$(cat "$folder/$name/.stamp")" = "$want" ] && continue
  rm -rf "${folder:?}/$name"
  mvn -q -B -f "$here/$name.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$folder/$name"
  echo "$want" > "$folder/$name/.stamp"
done
