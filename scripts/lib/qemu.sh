# Which QEMU runs the guests. Chosen once by scripts/setup, which leaves a wrapper .tools/bin/qemu-system-ARCH for each.
# shellcheck shell=bash

qemu_archs=(aarch64 riscv64)
# The first release with a user-creatable vhost-user-test-device, which can present the draft protocol's device.
qemu_wanted=10.2
# The first release whose vhost-user-gpio-device lets interrupts through.
qemu_accepted=9.0
# Debian suites whose QEMU is new enough, the oldest first.
qemu_suites=(trixie-backports forky)

qemu_stamp=$tools/qemu.env
qemu_unpacked=$tools/qemu

qemu_wrapper() {
    printf '%s\n' "$tools/bin/qemu-system-$1"
}

# qemu_version PROGRAM: prints its version, for instance 10.2.1.
qemu_version() {
    "$1" --version 2>/dev/null | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p'
}

# qemu_has_test_device PROGRAM: asks for the device's properties. The exit status is 0 also where there is no such device.
qemu_has_test_device() {
    "$1" -M virt -nodefaults -device vhost-user-test-device,help 2>/dev/null | grep virtio-id= >/dev/null
}

# qemu_judge DIRECTORY: looks at the QEMU programs of a directory. Prints `wanted`, `accepted`, `old` or `none`, and
# the version.
qemu_judge() {
    local arch program version judged=wanted
    for arch in "${qemu_archs[@]}"; do
        program=$1/qemu-system-$arch
        version=$([ ! -x "$program" ] || qemu_version "$program")
        if [ -z "$version" ]; then
            judged=none
            break
        elif ! version_at_least "$version" "$qemu_accepted"; then
            judged=old
        elif [ $judged = wanted ] && ! qemu_has_test_device "$program"; then
            judged=accepted
        fi
    done
    printf '%s %s\n' "$judged" "$version"
}

# qemu_system_directory: where the system's QEMU programs are; nothing if there are none.
qemu_system_directory() {
    local program
    program=$(command -v "qemu-system-${qemu_archs[0]}") || return 0
    dirname "$program"
}

# qemu_is_set_up: whether an earlier set-up made a choice that still holds.
qemu_is_set_up() {
    local arch qemu_asked='' qemu_judged='' qemu_release=''
    [ -e "$qemu_stamp" ] || return 1
    # shellcheck source=/dev/null
    . "$qemu_stamp"
    [ "$qemu_asked" = "${QEMU_DIR:-}" ] || return 1
    for arch in "${qemu_archs[@]}"; do
        # Starting it is the only sure sign that it can still be started: a system's QEMU may go away.
        [ "$(qemu_version "$(qemu_wrapper "$arch")")" = "$qemu_release" ] || return 1
    done
    say_ready "QEMU $qemu_release: ready"
    [ -n "${quiet:-}" ] || qemu_warn "$qemu_judged" "$qemu_release"
}

# qemu_warn JUDGED VERSION: what this QEMU cannot do.
qemu_warn() {
    if [ "$1" = accepted ]; then
        say "  QEMU $2 has no vhost-user-test-device: the draft protocol is limited to a device without line names." \
            "Wanted is QEMU $qemu_wanted or later; 'scripts/setup --again' looks for one."
    fi
}

# qemu_use JUDGED VERSION DIRECTORY: writes wrappers for the programs of a directory, and the stamp.
qemu_use() {
    local arch
    for arch in "${qemu_archs[@]}"; do
        qemu_write_wrapper "$arch" "exec '$3/qemu-system-$arch' \"\$@\""
    done
    qemu_write_stamp "$1" "$2"
}

# qemu_write_wrapper ARCH LINE...: replaces the wrapper in one step, so that nobody runs half of one.
qemu_write_wrapper() {
    local wrapper
    wrapper=$(qemu_wrapper "$1")
    shift
    mkdir -p "$tools/bin"
    printf '%s\n' '#!/bin/sh' '# Written by scripts/setup.' "$@" >"$wrapper.new"
    chmod +x "$wrapper.new"
    mv "$wrapper.new" "$wrapper"
}

qemu_write_stamp() {
    printf 'qemu_asked=%q\nqemu_judged=%q\nqemu_release=%q\n' "${QEMU_DIR:-}" "$1" "$2" >"$qemu_stamp.new"
    mv "$qemu_stamp.new" "$qemu_stamp"
    say "QEMU $2: chosen"
    qemu_warn "$1" "$2"
}

# qemu_set_up: chooses. A directory named by QEMU_DIR, else a system QEMU that has everything, else an unpacked one,
# else a system QEMU that has most, else one that can be installed.
qemu_set_up() {
    local system judged=none version='' reason
    if [ -n "${QEMU_DIR:-}" ]; then
        read -r judged version < <(qemu_judge "$QEMU_DIR")
        case $judged in
            wanted | accepted) qemu_use "$judged" "$version" "$QEMU_DIR" ;;
            old) die "QEMU_DIR=$QEMU_DIR has QEMU $version; $qemu_accepted or later is needed, $qemu_wanted or later wanted." ;;
            none) die "QEMU_DIR=$QEMU_DIR does not have both of ${qemu_archs[*]/#/qemu-system-}." ;;
        esac
        return
    fi

    system=$(qemu_system_directory)
    [ -z "$system" ] || read -r judged version < <(qemu_judge "$system")
    if [ "$judged" = wanted ]; then
        qemu_use wanted "$version" "$system"
        return
    fi

    case $judged in
        none) say "QEMU: not installed for ${qemu_archs[*]}; unpacking one below .tools" ;;
        *) say "QEMU: the system's is $version, wanted is $qemu_wanted or later; unpacking one below .tools" ;;
    esac
    if qemu_unpack; then
        return
    fi
    reason=$apt_problem
    say "  no QEMU could be unpacked: $reason"

    if [ "$judged" = accepted ]; then
        qemu_use accepted "$version" "$system"
        return
    fi
    if [ "$judged" = none ] && qemu_install; then
        system=$(qemu_system_directory)
        read -r judged version < <(qemu_judge "$system")
        case $judged in
            wanted | accepted)
                qemu_use "$judged" "$version" "$system"
                return
                ;;
        esac
    fi
    case $judged in
        old) reason="the system's QEMU is $version and too old, and a newer one could not be unpacked: $reason" ;;
        *) reason="there is no QEMU for ${qemu_archs[*]}, and none could be unpacked: $reason" ;;
    esac
    die "$reason" \
        "Next step: install QEMU $qemu_wanted or later (at least $qemu_accepted) for ${qemu_archs[*]} from your system's" \
        "packages or from source, put it in PATH or name its directory with QEMU_DIR, and run scripts/setup again."
}

# qemu_unpack: takes QEMU from the first Debian suite that has a good one. In `apt_problem` why not.
qemu_unpack() {
    local suite
    apt_available || return 1
    for suite in "${qemu_suites[@]}"; do
        if qemu_unpack_from "$suite"; then
            return
        fi
        say "  $apt_problem"
    done
    apt_problem="no suite had one, see above"
    return 1
}

# qemu_unpack_from SUITE
qemu_unpack_from() {
    local fresh=$qemu_unpacked.new judged version
    say "  reading the package lists of $1"
    apt_open "$1" || return 1
    say "  downloading QEMU and all it needs (about 45 MB, 210 MB unpacked)"
    rm -rf "$fresh"
    apt_unpack "$fresh" qemu-system-arm qemu-system-riscv opensbi || return 1
    rm -rf "$qemu_unpacked" "$qemu_stamp"
    mv "$fresh" "$qemu_unpacked"
    qemu_write_unpacked_wrappers || return 1
    read -r judged version < <(qemu_judge "$tools/bin")
    if [ "$judged" != wanted ]; then
        apt_problem="the QEMU of $1 (${version:-none}) is not $qemu_wanted or later"
        return 1
    fi
    qemu_write_stamp "$judged" "$version"
}

# The wrapper finds its folder at run time, so that the project can be moved.
qemu_write_unpacked_wrappers() {
    local arch loader libraries path modules
    apt_find_loader "$qemu_unpacked" || return 1
    # shellcheck disable=SC2016 # The wrapper expands this, not this script.
    path=$(printf '$unpacked/%s:' "${libraries[@]}")
    modules=${libraries[-1]}/qemu
    for arch in "${qemu_archs[@]}"; do
        # shellcheck disable=SC2016 # The wrapper expands these, not this script.
        qemu_write_wrapper "$arch" \
            'here=$(dirname "$0")' 'unpacked=$(cd "$here/../qemu" && pwd) || exit' \
            "export QEMU_MODULE_DIR=\"\$unpacked/$modules\"" \
            "exec \"\$unpacked/$loader\" --library-path \"${path%:}\" \\" \
            "    \"\$unpacked/usr/bin/qemu-system-$arch\" -L \"\$unpacked/usr/share/qemu\" \"\$@\""
    done
}

# qemu_install: the last resort, the system's own package, where that is ours to install.
qemu_install() {
    [ "$(id -u)" = 0 ] && have apt-get || return 1
    say "  installing the system's own QEMU packages"
    apt-get -qq update >/dev/null 2>&1 || true
    # The RISC-V programs have moved from one package to another.
    qemu_install_packages qemu-system-riscv || qemu_install_packages qemu-system-misc
}

qemu_install_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
        qemu-system-arm "$1" opensbi >/dev/null 2>&1
}
