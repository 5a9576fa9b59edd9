#!/usr/bin/env bash
# Dead letters: records that do not fit are set aside with the reason, looked at, and replayed once the cause is mended.
#   examples/queues/dead_letters.sh [DATA]      DATA: a running node's folder
set -euo pipefail
millrace=${MILLRACE:-$(dirname "$0")/../../build/millrace}
export MILLRACE_DATA=${1:-${MILLRACE_DATA:-./millrace-data}}
topic=payments_$$

"$millrace" sql -c "CREATE TOPIC $topic (id BIGINT, amount DOUBLE)"
"$millrace" produce "$topic" <<'RECORDS'
{"id": 1, "amount": 10.5}
{"id": 2, "amount": "a lot"}
{"id": 3, "amount": 7}
RECORDS
echo "what could not be read is set aside:"
until [ "$("$millrace" dead-letter list "$topic" -o csv 2> /dev/null | tail -n +2 | wc -l)" = 1 ]; do sleep 0.2; done
"$millrace" dead-letter list "$topic"
echo "amounts may be text from now on, and the letter is replayed:"
"$millrace" topic create "${topic}_text"
"$millrace" dead-letter replay "$topic" --to "${topic}_text"
"$millrace" consume "${topic}_text" --from beginning --exit
