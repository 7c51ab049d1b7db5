#!/bin/sh
# Debian 13's docker compose 2 as var/containers/docker-compose, taken out of its package: Debian 12 has none.
set -eu
folder=$(cd "$(dirname "$0")/../.." && pwd)/var/containers
program=$folder/docker-compose
[ -x "$program" ] && exec echo "$program"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder" "$work/lists/partial" "$work/cache/archives/partial"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -1)
[ -n "$mirror" ] || { echo "apt knows no Debian archive: run apt-get update" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
cat >"$work/apt.conf" <<EOF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
EOF
export APT_CONFIG="$work/apt.conf"
apt-get update -qq
cd "$work"
apt-get download -qq docker-compose
dpkg-deb -x docker-compose_*.deb "$work/package"
mv "$work/package/usr/libexec/docker/cli-plugins/docker-compose" "$program"
echo "$program"
