#!/bin/bash
# Makes the lowest layer of the inference image, a tar file: Debian with Python 3.11 and no more, about 100 MB.
#
#   tests/kubernetes/real/base-layer.sh LAYER.tar
#
# Packages are unpacked and not installed: their scripts are for machines that live on, and without them neither root nor
# chroot is needed.
set -euo pipefail
readonly LAYER=$1 PACKAGES="base-files dash coreutils python3 libstdc++6 libgomp1"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
readonly FOLDER_OF_APT=$WORK/apt ROOT=$WORK/root
. "$(dirname "$0")/apt.sh"

prepare_apt
say "fetching Python and what it needs"
apt_ install --download-only $PACKAGES
mkdir -p "$ROOT/usr"
for merged in bin sbin lib lib64; do # Debian's packages still name both places for one
    mkdir "$ROOT/usr/$merged"
    ln -s "usr/$merged" "$ROOT/$merged"
done
for package in "$FOLDER_OF_APT"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --directory "$ROOT"
done
rm -rf "$ROOT"/usr/share/{doc,man,locale,info} "$ROOT"/var/cache
mkdir -p "$ROOT"/{tmp,proc,sys,dev} "$ROOT/usr/local/bin"
chmod 1777 "$ROOT/tmp"
ln -s /usr/bin/python3 "$ROOT/usr/local/bin/python"
echo 'root:x:0:0:root:/root:/bin/sh
llm-eval:x:1000:1000::/tmp:/bin/sh' >"$ROOT/etc/passwd"
echo 'root:x:0:
llm-eval:x:1000:' >"$ROOT/etc/group"
tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory "$ROOT" --file "$LAYER.part" .
mv "$LAYER.part" "$LAYER"
say "$(du -m "$LAYER" | cut -f1) MB in $LAYER"
