#!/bin/bash
# Builds Kubernetes 1.20.2 (kube-apiserver, kube-controller-manager, kube-scheduler, kubelet) from Debian bookworm's own
# source package, and unpacks what runs beside it (etcd, containerd, runc, CNI plugins, ...) from Debian's packages.
#
#   tests/kubernetes/real/build.sh        10-20 minutes of CPU the first time, then under a second
#
# Debian ships no server binaries, but the source package holds the whole tree with its vendored dependencies, so nothing
# outside a Debian mirror is needed. Everything lands in $LLM_EVAL_K8S_CACHE (default ~/.cache/llm-eval/kubernetes-1.20.2):
#   bin/      the four servers        debian/   unpacked packages        build/   sources and objects, removed at the end
# Nothing is installed on the machine: installing etcd-server or containerd would start them as services.
# Interrupted, it goes on where it was: a server already in bin/ is not built again.
set -euo pipefail

readonly RECIPE=1 # raise it when this file changes what is built: older caches are then built anew
readonly SERVERS="kube-apiserver kube-controller-manager kube-scheduler kubelet"
readonly RUN_TIME="etcd-server containerd runc libseccomp2 containernetworking-plugins catatonit kubernetes-client"
readonly BUILD_TIME="golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev rsync libpopt0 libxxhash0"
readonly CACHE=${LLM_EVAL_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-eval/kubernetes-1.20.2}
readonly BUILD=$CACHE/build TOOLS=$CACHE/build/tools FOLDER_OF_APT=$CACHE/build/apt STAMP="kubernetes v1.20.2 recipe $RECIPE"

. "$(dirname "$0")/apt.sh"

require_host_tools() {
    local missing=() tool
    for tool in apt-get dpkg-source dpkg-deb make gcc jq openssl; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] || die "missing: ${missing[*]}. On Debian or Ubuntu: apt-get install dpkg-dev make gcc libc6-dev jq openssl"
    [ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 is built here; point KUBECONFIG at a cluster of your own instead"
}

unpack_packages() { # FOLDER PACKAGE...
    local folder=$1 downloads=$BUILD/packages package
    shift
    mkdir -p "$folder" "$downloads"
    for package in "$@"; do
        [ -e "$folder/.$package" ] && continue
        (cd "$downloads" && apt_ download "$package")
        dpkg-deb -x "$downloads/${package}"_*.deb "$folder"
        touch "$folder/.$package"
    done
}

unpack_source() {
    local reflect2=$BUILD/source/vendor/github.com/modern-go/reflect2 fixed=$TOOLS/usr/share/gocode/src/github.com/modern-go/reflect2
    [ -e "$BUILD/source/.unpacked" ] && return
    say "fetching and unpacking the source package (34 MB)"
    rm -rf "$BUILD/source"
    (cd "$BUILD" && apt_ source --download-only kubernetes)
    (cd "$BUILD" && dpkg-source --no-check -x kubernetes_*.dsc source >/dev/null)
    # The vendored reflect2 1.0.1 corrupts memory when built with Go >= 1.18: kube-apiserver dies in mapiternext with
    # "unexpected fault address" a minute after its start. Debian packages the repaired 1.0.2.
    rm -f "$reflect2"/*.go "$reflect2"/*.s
    cp "$fixed"/*.go "$fixed"/*.s "$reflect2/"
    rm -f "$reflect2"/*_test.go
    touch "$BUILD/source/.unpacked"
}

build_servers() {
    local server started
    # As Debian builds kubectl: GOPATH mode, since module mode stops at "updates to go.mod needed"; no network.
    export GOROOT=$TOOLS/usr/lib/go-1.19 GOPATH=$BUILD/source/.go GOCACHE=$BUILD/gocache GOPROXY=off GO111MODULE=off GOFLAGS=
    export PATH=$GOROOT/bin:$TOOLS/usr/bin:$PATH LD_LIBRARY_PATH=$TOOLS/usr/lib/x86_64-linux-gnu HOME=$BUILD/home
    export SOURCE_DATE_EPOCH=1610000000 KUBE_GIT_VERSION_FILE=$BUILD/version
    printf '%s\n' "KUBE_GIT_COMMIT='debian'" "KUBE_GIT_TREE_STATE='archive'" "KUBE_GIT_VERSION='v1.20.2'" \
        "KUBE_GIT_MAJOR='1'" "KUBE_GIT_MINOR='20'" >"$KUBE_GIT_VERSION_FILE"
    mkdir -p "$GOPATH/src/k8s.io" "$CACHE/bin"
    ln -sfn ../../.. "$GOPATH/src/k8s.io/kubernetes"
    for server in $SERVERS; do
        [ -x "$CACHE/bin/$server" ] && continue
        started=$SECONDS
        say "building $server (log: $BUILD/$server.log)"
        make -C "$BUILD/source" WHAT="cmd/$server" >"$BUILD/$server.log" 2>&1 || {
            tail -20 "$BUILD/$server.log" >&2
            die "$server did not build"
        }
        cp "$BUILD/source/_output/local/bin/linux/amd64/$server" "$CACHE/bin/.$server"
        mv "$CACHE/bin/.$server" "$CACHE/bin/$server" # under its name it is whole
        say "$server built in $((SECONDS - started)) s"
    done
}

if [ "$(cat "$CACHE/stamp" 2>/dev/null)" = "$STAMP" ]; then
    say "$STAMP is in $CACHE"
    exit 0
fi
require_host_tools
mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock --nonblock 9 || die "another build is running in $CACHE"
[ "$(cat "$BUILD/recipe" 2>/dev/null)" = "$RECIPE" ] || rm -rf "$BUILD" "$CACHE/bin" "$CACHE/debian" "$CACHE/stamp"
mkdir -p "$BUILD/home"
echo "$RECIPE" >"$BUILD/recipe"
prepare_apt
unpack_packages "$CACHE/debian" $RUN_TIME
unpack_packages "$TOOLS" $BUILD_TIME
unpack_source
build_servers
echo "$STAMP" >"$CACHE/stamp"
rm -rf "$BUILD"
say "$STAMP is ready: $(du -sh "$CACHE" | cut -f1) in $CACHE"
