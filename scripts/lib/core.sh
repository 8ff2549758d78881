# A bare-metal `core` and `alloc` for the guest's targets, by the first way that works here. The firmware itself is
# built with the stable compiler in each of them. Chosen once by scripts/setup, which leaves .tools/core.env and what
# guest.sh goes by.
# shellcheck shell=bash

core_targets=(aarch64-unknown-none-softfloat riscv64imac-unknown-none-elf)
core_ways=(installed rustup rust-src debian-src debian-web)
core_stamp=$tools/core.env
# Way 5's compiler.
core_web=$tools/rust-web
core_web_suite=bookworm-security
# Debian suites that may hold the sources of the pinned compiler's library.
core_source_suites=(trixie-backports forky)
# Seconds for `rustup target add`, which can hang where its server is out of reach.
core_rustup_seconds=90

# core_compiler: what identifies the compiler in use; libraries fit only the very same one.
core_compiler() {
    rustc -vV | awk '{ v[$1] = $2 } END { print v["release:"] "-" substr(v["commit-hash:"], 1, 9) "-" v["host:"] }'
}

# core_is_set_up: whether an earlier set-up's choice still holds: same compiler, same place, libraries still there.
core_is_set_up() {
    local core_for='' core_compiler_at='' core_root='' core_libraries='' core_way='' target
    [ -e "$core_stamp" ] || return 1
    # shellcheck source=/dev/null
    . "$core_stamp"
    [ "$core_for" = "$(core_compiler)" ] && [ "$core_compiler_at" = "$(rustc --print sysroot)" ] &&
        [ "$core_root" = "$root" ] || return 1
    for target in "${core_targets[@]}"; do
        core_libraries_exist "$core_libraries" "$target" || return 1
    done
    say_ready "core for ${core_targets[*]}: ready ($core_way)"
}

# core_libraries_exist SYSROOT TARGET
core_libraries_exist() {
    compgen -G "$1/lib/rustlib/$2/lib/libcore-*.rlib" >/dev/null
}

# core_finish WAY SYSROOT [LINKER]: records how it went. A sysroot of our own is made known to cargo, and a linker if it
# is not the compiler's.
core_finish() {
    local target
    if [ "$2" != "$(rustc --print sysroot)" ]; then
        {
            echo '# Written by scripts/setup: the bare-metal libraries of this machine.'
            for target in "${core_targets[@]}"; do
                printf '[target.%s]\nrustflags = ["--sysroot=%s"]\n' "$target" "$2"
                [ -z "${3:-}" ] || printf 'linker = "%s"\n' "$3"
            done
        } >"$guest_cargo_config.new"
        mv "$guest_cargo_config.new" "$guest_cargo_config"
    fi
    printf 'core_for=%q\ncore_compiler_at=%q\ncore_root=%q\ncore_libraries=%q\ncore_way=%q\n' \
        "$(core_compiler)" "$(rustc --print sysroot)" "$root" "$2" "$1" >"$core_stamp.new"
    mv "$core_stamp.new" "$core_stamp"
    say "core for ${core_targets[*]}: $1"
    [ ! -e "$guest_cargo_config" ] || say "  scripts/build uses it; by hand: cargo --config ${guest_cargo_config#"$root/"} build ..."
}

# core_set_up: tries the ways in order, or only the one that `core_only` names.
core_set_up() {
    local way problems=()
    rm -rf "$core_stamp" "$guest_cargo_config" "$guest_own_cargo" "$core_web" "$tools"/sysroot-*
    for way in "${core_ways[@]}"; do
        [ -z "${core_only:-}" ] || [ "$core_only" = "$way" ] || continue
        core_problem=
        # In a condition `set -e` does nothing: each step of a way says itself when it failed.
        if "core_from_${way//-/_}"; then
            return
        fi
        problems+=("  $way: $core_problem")
    done
    die "there is no bare-metal core library for $(rustc --version), and none could be had:" "${problems[@]}" \
        "Next step: run 'rustup target add ${core_targets[*]}' where the network is there, and scripts/setup again."
}

# Way 1: the compiler has it.
core_from_installed() {
    local target sysroot
    sysroot=$(rustc --print sysroot)
    for target in "${core_targets[@]}"; do
        core_libraries_exist "$sysroot" "$target" || {
            core_problem="the compiler has no libraries for $target"
            return 1
        }
    done
    core_finish "installed with the compiler" "$sysroot"
}

# Way 2: rustup brings it.
core_from_rustup() {
    have rustup || {
        core_problem="there is no rustup"
        return 1
    }
    say "core: asking rustup for ${core_targets[*]} (at most $core_rustup_seconds s)"
    timeout "$core_rustup_seconds" rustup target add "${core_targets[@]}" >/dev/null 2>&1 || {
        core_problem="rustup target add failed or took longer than $core_rustup_seconds s"
        say "  $core_problem"
        return 1
    }
    core_finish "added by rustup" "$(rustc --print sysroot)"
}

# Way 3: the compiler's own sources, component rust-src.
core_from_rust_src() {
    local library
    library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
    [ -e "$library/Cargo.lock" ] || {
        core_problem="the compiler has no rust-src component"
        return 1
    }
    core_build "$library" && core_finish "built from the compiler's rust-src component" "$(core_sysroot)"
}

# Way 4: Debian's package of the sources of the same release.
core_from_debian_src() {
    local suite
    apt_available || {
        # shellcheck disable=SC2154 # of apt.sh
        core_problem=$apt_problem
        return 1
    }
    for suite in "${core_source_suites[@]}"; do
        if core_from_source_suite "$suite"; then
            return
        fi
        say "  $core_problem"
    done
    core_problem="none of ${core_source_suites[*]} had the sources"
    return 1
}

# core_from_source_suite SUITE
core_from_source_suite() {
    local release version unpacked=$tools/rust-src
    release=$(rustc -vV | sed -n 's/^release: //p')
    say "core: looking for the sources of Rust $release in $1"
    apt_open "$1" || {
        core_problem=$apt_problem
        return 1
    }
    version=$(in_apt apt-cache madison rust-src | awk -v start="$release+" 'index($3, start) == 1 { print $3; exit }')
    [ -n "$version" ] || {
        core_problem="$1 has no rust-src of release $release"
        return 1
    }
    rm -rf "$unpacked"
    apt_unpack_alone "$unpacked" "rust-src=$version" || {
        core_problem=$apt_problem
        return 1
    }
    core_build "$unpacked/usr/src/rustc-$release/library" || return 1
    rm -rf "$unpacked"
    core_finish "built from Debian's rust-src $version" "$(core_sysroot)"
}

# Way 5: Debian's own newer compiler, which has its sources beside it; it builds the guest from then on. The host's crates
# keep the toolchain at hand.
core_from_debian_web() {
    local fresh=$core_web.new
    apt_available || {
        core_problem=$apt_problem
        return 1
    }
    say "core: downloading a compiler with its sources from $core_web_suite (about 350 MB, 1.3 GB unpacked)"
    rm -rf "$fresh"
    if ! apt_open "$core_web_suite" || ! apt_unpack "$fresh" rustc-web cargo-web rust-web-src lld; then
        core_problem=$apt_problem
        return 1
    fi
    rm -rf "$core_web"
    mv "$fresh" "$core_web"
    core_write_web_wrappers || return 1
    core_build "$(printf '%s\n' "$core_web"/usr/src/rustc-*/library | head -n 1)" || {
        rm -f "$guest_own_cargo"
        return 1
    }
    rm -rf "$core_web/usr/src"
    core_finish "built with Debian's rustc-web" "$(core_sysroot)" "$tools/bin/lld-web"
}

# The unpacked programs run with their own C library, as QEMU does. Their children do not: `cc`, which links build
# scripts, is the system's.
core_write_web_wrappers() {
    local loader libraries name path
    apt_find_loader "$core_web" || {
        core_problem=$apt_problem
        return 1
    }
    path=$(printf '%s:' "${libraries[@]/#/$core_web/}")
    mkdir -p "$tools/bin"
    for name in rustc cargo lld; do
        printf '%s\n' '#!/bin/sh' '# Written by scripts/setup.' \
            "export RUSTC='$tools/bin/rustc-web'" \
            "exec '$core_web/$loader' --library-path '${path%:}' '$core_web/usr/bin/$name' \"\$@\"" >"$tools/bin/$name-web.new"
        chmod +x "$tools/bin/$name-web.new"
        mv "$tools/bin/$name-web.new" "$tools/bin/$name-web"
    done
}

# core_sysroot: where our own libraries for the compiler in use belong. Its name changes with the compiler, so that
# cargo builds everything anew then.
core_sysroot() {
    local own=''
    ! guest_cargo_is_ours || own=-rustc-web
    printf '%s/sysroot-%s%s\n' "$tools" "$(core_compiler)" "$own"
}

# core_build LIBRARY: builds the libraries from their sources into a sysroot of our own. Only this one step needs the
# compiler's switch for unstable features; the libraries serve as the ones that rustup would bring.
core_build() {
    local library=$1 work=$tools/core-build sysroot fresh target selected=()
    [ -e "$library/Cargo.lock" ] || {
        core_problem="there are no sources in $library"
        return 1
    }
    say "core: building core and alloc from ${library#"$root/"} (about half a minute)"
    sysroot=$(core_sysroot)
    fresh=$sysroot.new
    rm -rf "$work" "$fresh"
    mkdir -p "$work/src"
    printf '[package]\nname = "empty"\nedition = "2024"\n[workspace]\n' >"$work/Cargo.toml"
    echo '#![no_std]' >"$work/src/lib.rs"
    for target in "${core_targets[@]}"; do
        selected+=(--target "$target")
    done
    # Link-time optimisation of the image needs the libraries' bitcode. RUSTFLAGS also keeps the project's flags out.
    (
        cd "$work" && RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$library CARGO_TARGET_DIR=$work/target \
            CARGO_ENCODED_RUSTFLAGS=-Cembed-bitcode=yes guest_cargo build --quiet --release "${selected[@]}" \
            -Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
    ) >"$work/log" 2>&1 || {
        core_problem="building it from $library failed: $(grep -m 1 '^error' "$work/log")"
        return 1
    }
    for target in "${core_targets[@]}"; do
        mkdir -p "$fresh/lib/rustlib/$target/lib"
        cp "$work/target/$target/release/deps/"lib{core,alloc,compiler_builtins}-*.rlib "$fresh/lib/rustlib/$target/lib/"
    done
    rm -rf "$sysroot" "$work"
    mv "$fresh" "$sysroot"
}
