# Packages of a Debian suite unpacked below .tools, without touching the system: a private apt root with its own lists,
# cache and status. Addresses, proxies and keys are those of the machine's own apt set-up; signatures are checked.
# shellcheck shell=bash

apt_root=$tools/apt
# The suite that the private root is open for.
apt_suite=
# Why the last function that failed did so.
apt_problem=
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_available: whether packages can be unpacked here at all. Says in `apt_problem` why not.
apt_available() {
    apt_problem=
    if ! have apt-get || ! have apt-cache || ! have dpkg; then
        apt_problem="this machine has no apt"
    elif [ ! -e "$debian_keyring" ]; then
        apt_problem="Debian's archive keys are not installed (package debian-archive-keyring)"
    elif [ -z "$(apt_mirror Debian)" ]; then
        apt_problem="apt is not set up for a Debian archive"
    fi
    [ -z "$apt_problem" ]
}

# apt_mirror LABEL: address of the archive with this label (Debian, Debian-Security) in the machine's own set-up.
# The label comes from downloaded lists; an image without lists still shows the addresses, told apart by their last word.
apt_mirror() {
    local name=${1,,} targets=(apt-get indextargets 'Created-By: Packages')
    # shellcheck disable=SC2016 # apt expands these, not this script.
    {
        "${targets[@]}" --format '$(LABEL) $(REPO_URI)'
        "${targets[@]}" --no-release-info --format 'none $(REPO_URI)'
    } 2>/dev/null |
        awk -v label="$1" -v tail="/$name/" '
            $1 == label || ($1 == "none" && substr($2, length($2) - length(tail) + 1) == tail) { print $NF; exit }'
}

# in_apt COMMAND...: runs apt-get, apt-cache against the private root.
in_apt() {
    local command=$1
    shift
    "$command" -qq \
        -o Dir::State="$apt_root/state" -o Dir::State::status="$apt_root/status" -o Dir::Cache="$apt_root/cache" \
        -o Dir::Etc::SourceList="$apt_root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::Log="$apt_root/log" -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=2 \
        -o APT::Install-Recommends=false -o APT::Default-Release="$apt_suite" \
        -o APT::Update::Error-Mode=any -o APT::Get::AllowUnauthenticated=false -o Acquire::AllowInsecureRepositories=false "$@"
}

# apt_open SUITE: makes a private root that takes packages from this suite first, and from the suite it builds on
# (trixie-backports: trixie).
apt_open() {
    local suite base=${1%%-*} label
    [ "$apt_suite" != "$1" ] || return 0
    rm -rf "$apt_root"
    mkdir -p "$apt_root"/{state/lists/partial,cache/archives/partial,log}
    : >"$apt_root/status"
    for suite in "$base" "$1"; do
        label=Debian
        [[ $suite == *-security ]] && label=Debian-Security
        printf 'deb [signed-by=%s] %s %s main\n' "$debian_keyring" "$(apt_mirror "$label")" "$suite"
    done | uniq >"$apt_root/sources.list"
    apt_suite=$1
    in_apt apt-get update >"$apt_root/log/update" 2>&1 || {
        apt_problem="apt could not read the package lists of $1: $(apt_error update)"
        apt_suite=
        return 1
    }
}

# apt_error LOG: the first error of a run, without apt's mark.
apt_error() {
    sed -n 's/^[EW]: *//p' "$apt_root/log/$1" | head -n 1
}

# apt_unpack DIRECTORY PACKAGE...: downloads packages with all they depend on, and unpacks them into a directory.
apt_unpack() {
    local into=$1
    shift
    in_apt apt-get --yes --download-only install "$@" >"$apt_root/log/install" 2>&1 || {
        apt_problem="apt could not download $1: $(apt_error install)"
        return 1
    }
    apt_unpack_downloaded "$into"
}

# apt_unpack_alone DIRECTORY PACKAGE: as apt_unpack, without what the package depends on.
apt_unpack_alone() {
    (cd "$apt_root/cache/archives" && in_apt apt-get download "$2") >"$apt_root/log/download" 2>&1 || {
        apt_problem="apt could not download $2: $(apt_error download)"
        return 1
    }
    apt_unpack_downloaded "$1"
}

# apt_unpack_programs DIRECTORY PACKAGE...: as apt_unpack, programs that run with the system's libraries: they come from the
# system's own suite, without what is installed. apt_environment lets them be found.
apt_unpack_programs() {
    local suite
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-stable}")
    apt_available || return 1
    apt_open "$suite" || return 1
    cp /var/lib/dpkg/status "$apt_root/status"
    apt_unpack "$@"
}

# apt_environment DIRECTORY: lets programs of apt_unpack_programs be found, behind the system's own.
apt_environment() {
    local libraries
    [ -d "$1/usr/bin" ] || return 0
    libraries=$(printf '%s:' "$1"/lib/*-linux-gnu "$1"/usr/lib/*-linux-gnu)
    # No empty word, which would be the current folder.
    export PATH=$PATH:$1/usr/bin LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries%:}
}

apt_unpack_downloaded() {
    local package
    mkdir -p "$1"
    for package in "$apt_root"/cache/archives/*.deb; do
        dpkg -x "$package" "$1" || {
            apt_problem="dpkg could not unpack ${package##*/}"
            return 1
        }
    done
    rm -f "$apt_root"/cache/archives/*.deb
}

# apt_find_loader DIRECTORY: unpacked programs run with their own C library, so that they fit any system. Sets `loader`, the
# program that starts them, and `libraries`, the folders for its --library-path; both below the directory.
apt_find_loader() {
    local folder architecture
    loader=$(cd "$1" && compgen -G 'lib/*-linux-gnu*/ld-linux*.so.*' || compgen -G 'usr/lib/*-linux-gnu*/ld-linux*.so.*') || {
        apt_problem="the unpacked packages have no program loader"
        return 1
    }
    architecture=$(basename "$(dirname "$loader")")
    libraries=()
    for folder in "lib/$architecture" "usr/lib/$architecture"; do
        [ ! -d "$1/$folder" ] || libraries+=("$folder")
    done
}
