# A Linux machine with GPIO chips of its own, for the tests of real lines: Debian's kernel for x86-64 with its module gpio-sim,
# and a QEMU to boot it in. Left in .tools/bridge. Optional: where it cannot be had, the tests are left out, and say so.
# shellcheck shell=bash

# Debian suites whose kernel has gpio-sim, to be tried in this order.
bridge_suites=(trixie-backports forky)
bridge_root=$tools/bridge
# The machine's processor, which is what the programs in it are built for.
bridge_target=x86_64-unknown-linux-musl
# What reads C headers while the peer is built; a release that is one file, and runs on old systems too.
bridge_libclang=18.1.1
# Where they are built.
bridge_output=${CARGO_TARGET_DIR:-$root/target}/bridge
# Why the last function that failed did so.
bridge_problem=

bridge_is_set_up() {
    [ -e "$bridge_root/vmlinuz" ] && [ -e "$bridge_root/gpio-sim.ko" ] && [ -e "$bridge_root/accelerator" ] &&
        "$bridge_root/qemu-system-x86_64" --version >/dev/null 2>&1
}

# bridge_set_up: brings everything. In `bridge_problem` why not.
bridge_set_up() {
    if [ "$(uname -m)" != x86_64 ]; then
        bridge_problem="the machine for it is built for x86-64, and this one is $(uname -m)"
        return 1
    fi
    bridge_bring_kernel && bridge_bring_qemu && bridge_choose_accelerator
}

bridge_bring_kernel() {
    local suite
    apt_available || {
        bridge_problem="no kernel with gpio-sim can be had: $apt_problem"
        return 1
    }
    for suite in "${bridge_suites[@]}"; do
        say "bridge: downloading Debian's kernel of $suite (about 120 MB, 2 MB are kept)"
        if bridge_unpack_kernel "$suite"; then
            rm -rf "$bridge_root/unpacked"
            return
        fi
        say "  $bridge_problem"
    done
    bridge_problem="no kernel with gpio-sim can be had: $bridge_problem"
    return 1
}

# bridge_unpack_kernel SUITE: the kernel is one package or several, as the suite has it.
bridge_unpack_kernel() {
    local unpacked=$bridge_root/unpacked image package module kernel
    apt_open "$1" || {
        bridge_problem=$apt_problem
        return 1
    }
    image=$(in_apt apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    rm -rf "$unpacked"
    for package in "$image" $(in_apt apt-cache depends "$image" | awk '$1 == "Depends:" && $2 ~ /^linux-(binary|modules)-/ { print $2 }'); do
        apt_unpack_alone "$unpacked" "$package" || {
            bridge_problem=$apt_problem
            return 1
        }
    done
    for module in configfs gpio-sim; do
        bridge_take_module "$unpacked" $module || {
            bridge_problem="$image of $1 has no module $module"
            return 1
        }
    done
    kernel=$(find "$unpacked" -name 'vmlinuz*' -type f | head -n 1)
    [ -n "$kernel" ] || {
        bridge_problem="$image of $1 has no kernel in it"
        return 1
    }
    mv "$kernel" "$bridge_root/vmlinuz"
    printf '%s\n' "${image#linux-image-}" >"$bridge_root/release"
}

# bridge_take_module DIRECTORY NAME
bridge_take_module() {
    local file
    file=$(find "$1" -name "$2.ko*" -type f | head -n 1)
    case $file in
        *.ko) cp "$file" "$bridge_root/$2.ko" ;;
        *.ko.xz) xz -dc "$file" >"$bridge_root/$2.ko" ;;
        *.ko.zst) zstd -qdc "$file" >"$bridge_root/$2.ko" ;;
        *) return 1 ;;
    esac
}

# bridge_bring_qemu: the system's QEMU for x86-64 if there is one, else one that is unpacked.
bridge_bring_qemu() {
    local wrapper=$bridge_root/qemu-system-x86_64 unpacked=$bridge_root/qemu loader libraries path
    if have qemu-system-x86_64; then
        printf '%s\n' '#!/bin/sh' "exec '$(command -v qemu-system-x86_64)' \"\$@\"" >"$wrapper"
    else
        say "bridge: downloading QEMU for x86-64 and all it needs (about 40 MB, 170 MB unpacked)"
        rm -rf "$unpacked"
        if ! apt_unpack "$unpacked" qemu-system-x86 seabios || ! apt_find_loader "$unpacked"; then
            bridge_problem="no QEMU for x86-64 can be had: $apt_problem"
            return 1
        fi
        # shellcheck disable=SC2016 # The wrapper expands this, not this script.
        path=$(printf '$unpacked/%s:' "${libraries[@]}")
        # shellcheck disable=SC2016 # As above.
        printf '%s\n' '#!/bin/sh' '# Written by scripts/bridge.' 'unpacked=$(cd "$(dirname "$0")/qemu" && pwd) || exit' \
            "export QEMU_MODULE_DIR=\"\$unpacked/${libraries[-1]}/qemu\"" \
            "exec \"\$unpacked/$loader\" --library-path \"${path%:}\" \"\$unpacked/usr/bin/qemu-system-x86_64\" \\" \
            '    -L "$unpacked/usr/share/qemu" -L "$unpacked/usr/share/seabios" "$@"' >"$wrapper"
    fi
    chmod +x "$wrapper"
}

# bridge_boots ACCELERATOR: whether the kernel comes up with it. Without a disk it has to give up, and the machine ends.
bridge_boots() {
    timeout 60 "$bridge_root/qemu-system-x86_64" -accel "$1" -cpu max -M q35 -m 512 -nodefaults -no-user-config \
        -display none -serial stdio -no-reboot -kernel "$bridge_root/vmlinuz" -append "console=ttyS0 panic=-1" \
        </dev/null 2>&1 | grep 'end Kernel panic\|Unable to mount root fs' >/dev/null
}

# KVM that is there does not always work: a machine may be one inside another that emulates what it does not have.
bridge_choose_accelerator() {
    local accelerator=tcg
    if [ -w /dev/kvm ]; then
        say "bridge: trying KVM (up to a minute)"
        ! bridge_boots kvm || accelerator=kvm
    fi
    if [ $accelerator = tcg ] && ! bridge_boots tcg; then
        bridge_problem="Debian's kernel does not boot in $bridge_root/qemu-system-x86_64"
        return 1
    fi
    printf '%s\n' $accelerator >"$bridge_root/accelerator"
}

# bridge_build: the programs that run in that machine, which has no libraries.
bridge_build() {
    rustup target add "$bridge_target" >/dev/null 2>&1 || true
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$bridge_target" ]; then
        bridge_problem="the Rust target $bridge_target is not installed, and rustup cannot bring it"
        return 1
    fi
    say "bridge: building the programs for the machine"
    if ! CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo build --quiet --release \
        --target "$bridge_target" --target-dir "$bridge_output" --package vgpio --package hil --bin vgpio --bin in-vm \
        --features hil/bridge >&2; then
        bridge_problem="the programs for the machine do not build"
        return 1
    fi
}

# bridge_bring_peer: rust-vmm's vhost-device-gpio as it was released, on Debian's libgpiod, to be measured beside vgpio. It is
# an empty program but with the GNU C library, which is linked into it, because the machine has no libraries.
bridge_bring_peer() {
    local peer=$bridge_root/peer parts=$bridge_root/peer/parts log=$bridge_root/peer.log
    [ ! -x "$peer/bin/vhost-device-gpio" ] || return 0
    say "bridge: building vhost-device-gpio $peer_release on Debian's libgpiod, to measure beside it (some minutes)"
    rm -rf "$peer"
    if ! apt_available || ! apt_open "${bridge_suites[0]}" || ! apt_unpack_alone "$parts/debian" libgpiod-dev; then
        bridge_problem="no libgpiod can be had: $apt_problem"
        return 1
    fi
    # Only what is linked into a program: a shared library beside it would be preferred.
    find "$parts/debian" \( -name libgpiod.a -o -name gpiod.h \) -exec mv -t "$parts" {} +
    # The crate reads the header at build time.
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$parts" \
        "libclang==$bridge_libclang" >"$log" 2>&1 || ! python3 -m zipfile -e "$parts"/libclang-*.whl "$parts/wheel" >>"$log" 2>&1; then
        bridge_problem="no libclang can be had: $(tail -n 1 "$log")"
        return 1
    fi
    if ! LIBCLANG_PATH=$(dirname "$(find "$parts/wheel" -name libclang.so)") \
        BINDGEN_EXTRA_CLANG_ARGS="-I$(gcc -print-file-name=include)" \
        SYSTEM_DEPS_LIBGPIOD_NO_PKG_CONFIG=1 SYSTEM_DEPS_LIBGPIOD_LIB=gpiod SYSTEM_DEPS_LIBGPIOD_SEARCH_NATIVE=$parts \
        SYSTEM_DEPS_LIBGPIOD_INCLUDE=$parts CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
        cargo install --quiet --root "$peer" --version "$peer_release" --target x86_64-unknown-linux-gnu vhost-device-gpio \
        >"$log" 2>&1; then
        bridge_problem="vhost-device-gpio does not build: $(grep -m 1 '^error' "$log") (all of it is in ${log#"$root/"})"
        return 1
    fi
    rm -rf "$parts" "$log"
}
