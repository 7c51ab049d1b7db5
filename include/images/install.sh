#!/bin/sh
# Makes a virtual environment of one list, in the versions of the locks, and says what is in it (CycloneDX).
#   sh install.sh VENV SBOM LIST      TORCH_INDEX_URL: an index that is asked too, for another build of torch
# Where `wheels/` beside this file holds any wheel, no index is asked at all: pip takes everything from there.
set -eu
venv=$1 sbom=$2 list=$3
cd "$(dirname "$0")"

if ls wheels/*.whl >/dev/null 2>&1; then
  set -- --no-index --find-links wheels
elif [ -n "${TORCH_INDEX_URL:-}" ]; then
  set -- --extra-index-url "$TORCH_INDEX_URL"
else
  set --
fi

# A pip of our choice: Debian's own fails at constraints together with extras. It stays outside of what it installs into.
tools=/opt/tools
python3 -m venv "$tools"
"$tools/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --quiet "$@" -r tools.in
python3 -m venv --without-pip "$venv"
"$tools/bin/python" -m pip --python "$venv/bin/python" install --no-cache-dir --disable-pip-version-check --quiet "$@" \
  -c requirements.txt -c requirements-dev.txt -r "$list"
"$tools/bin/python" -m pip --python "$venv/bin/python" check
mkdir -p "$(dirname "$sbom")"
"$tools/bin/cyclonedx-py" environment "$venv/bin/python" --output-reproducible --output-format JSON --output-file "$sbom"
