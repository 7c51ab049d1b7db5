# Sourced: an apt of its own that reads bookworm's packages and sources whatever the machine runs, and changes neither the
# machine's lists nor what is installed. Expects FOLDER_OF_APT.

say() { printf '%s k8s-real: %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { say "$*" >&2; exit 1; }
apt_() { APT_CONFIG=$FOLDER_OF_APT/apt.conf apt-get -qq -o APT::Install-Recommends=false "$@"; }

# The one that this machine's own apt reads; nothing where it is of another release.
bookworms_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "bookworm" && $3 == "main" && !found++ { print $1 }'
}

prepare_apt() {
    local mirror=${LLM_EVAL_DEBIAN_MIRROR:-$(bookworms_mirror)} keys=/usr/share/keyrings/debian-archive-keyring.gpg
    local signed="[signed-by=$keys]"
    [ -n "$mirror" ] || die "this is no Debian 12: name a Debian mirror that has bookworm in LLM_EVAL_DEBIAN_MIRROR"
    [ -e "$keys" ] || die "Debian's keys are missing: apt-get install debian-archive-keyring"
    mkdir -p "$FOLDER_OF_APT"/{lists,cache/archives}/partial
    printf '%s\n' "deb $signed $mirror bookworm main" "deb-src $signed $mirror bookworm main" >"$FOLDER_OF_APT/sources.list"
    : >"$FOLDER_OF_APT/nothing-is-installed"
    cat >"$FOLDER_OF_APT/apt.conf" <<CONF
Dir::Etc::sourcelist "$FOLDER_OF_APT/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$FOLDER_OF_APT/lists";
Dir::State::status "$FOLDER_OF_APT/nothing-is-installed";
Dir::Cache "$FOLDER_OF_APT/cache";
APT::Sandbox::User "root";
CONF
    say "reading bookworm's package lists from $mirror"
    apt_ update
}
