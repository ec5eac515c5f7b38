#!/bin/sh
# What a published tester of APIs makes of GET /openapi.json: schemathesis (PyPI) sends what the document allows and what it
# forbids, and looks for server errors, statuses, types and bodies that the document does not have.
#   bench/clients/schemathesis_run.sh PROGRAM [schemathesis run's arguments]     SCHEMATHESIS=path/to/schemathesis
set -eu
program=$1
shift
log=$(mktemp)
"$program" serve --port 0 --pooling last -n 8 -q >"$log" &
server=$!
trap 'kill $server; rm -f "$log"' EXIT
until grep -q http "$log"; do
  kill -0 $server
  sleep 0.2
done
# Without positive_data_acceptance: what a grammar or a chat template refuses is a 400 that no schema can tell.
"${SCHEMATHESIS:-schemathesis}" run "$(head -1 "$log")/openapi.json" --workers 2 --max-examples "${EXAMPLES:-50}" \
  --checks not_a_server_error,negative_data_rejection,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method \
  --seed 1 "$@"
