#!/bin/sh
# Writes .env: .env.example with a new secret wherever one is empty. What .env says already is never changed.
#   sh include/compose/make-env.sh [FILE]     copy the file to every machine of one deployment: its secrets must be the same
set -eu
here=$(dirname "$0")
file=${1:-$here/../../.env}

secret() { # BYTES, as base64 that may stand in an address
  head -c "$1" /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'
}

fill() { # NAME BYTES
  if grep -q "^$1=..*" "$file"; then
    return
  elif grep -q "^$1=" "$file"; then
    value=$(secret "$2")
    sed "s|^$1=.*|$1=$value|" "$file" >"$file.new"
    mv "$file.new" "$file"
  else
    printf '%s=%s\n' "$1" "$(secret "$2")" >>"$file"
  fi
  echo "$file: made $1"
}

umask 077
[ -e "$file" ] || cat "$here/../../.env.example" >"$file"
fill AIRFLOW_FERNET_KEY 32 # the 32 bytes of a key, nothing else will do
fill AIRFLOW_JWT_SECRET 48
fill AIRFLOW_API_SECRET_KEY 48
fill POSTGRES_PASSWORD 24
fill REDIS_PASSWORD 24
fill LLM_EVAL_S3_ACCESS_KEY 15
fill LLM_EVAL_S3_SECRET_KEY 30
