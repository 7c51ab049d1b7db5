#!/bin/sh
# Fills wheels/ beside this file with everything that the images need, so that they can be built without a network.
#   sh include/images/wheels.sh [PYTHON]     with the images' Python version, on their system and kind of processor
# pip is told the rest by its own variables, such as PIP_EXTRA_INDEX_URL for another build of torch.
set -eu
python=${1:-python3}
here=$(dirname "$0")
checkout=$here/../..

wheels() {
  "$python" -m pip wheel --disable-pip-version-check --quiet --wheel-dir "$here/wheels" --find-links "$here/wheels" "$@"
}

# async-timeout: redis asks for it below Python 3.11.3, which Debian 12 has and this Python may not.
wheels -c "$checkout/requirements.txt" -c "$checkout/requirements-dev.txt" \
  -r "$here/airflow.in" -r "$here/inference.in" async-timeout
wheels -r "$here/tools.in"
