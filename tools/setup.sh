#!/bin/sh
# Installs what is missing on Debian or Ubuntu: for building, with --mlx, --deb, --docs or --test for the targets of those names.
# Fetches yyjson's source where the system has no package of it. What is there already is left alone.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

packages="gcc make cmake pkg-config libc6-dev libpcre2-dev libutf8proc-dev libedit-dev
    libcurl4-openssl-dev libssl-dev libarchive-dev python3 python3-pip unzip"
[ "$(uname -m)" = x86_64 ] && cross=yes || cross=""
case ${1:-} in
--mlx) packages="$packages g++" ;;
--deb) packages="$packages dpkg-dev file" ;;
--docs) packages="$packages doxygen" ;;
esac
if [ "${1:-}" = --test ]; then
    packages="$packages openssl libcmocka-dev clang libclang-rt-dev gcovr g++ doxygen dpkg-dev file"
    # The NEON kernels are cross-built, and run under an emulator.
    [ -z "$cross" ] || packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libcmocka-dev:arm64"
fi

is_installed() { # package[:architecture]
    dpkg-query -W -f='${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed'
}

install_packages() {
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing, and there is neither root nor sudo to install them:$*"
        sudo=sudo
    fi
    say "installing $*"
    case "$*" in *:arm64*) $sudo dpkg --add-architecture arm64 ;; esac
    {
        $sudo apt-get update -qq
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } </dev/null >/dev/null || die "apt-get could not install $*"
}

# yyjson is in no package of Debian 12; its unmodified source travels in the sdist of a PyPI package.
yyjson_version=4.0.6
yyjson_sha256=fcd4dc15c1e39a30bf9fa85d56903029111506860fc3080ab0d81c6c6dacaa8c
fetch_yyjson() {
    say "fetching the source of yyjson"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "yyjson==$yyjson_version --hash=sha256:$yyjson_sha256" >"$work/requirements.txt"
    python3 -m pip download -q --no-deps --no-binary :all: -d "$work" -r "$work/requirements.txt" >&2
    tar -xzf "$work/yyjson-$yyjson_version.tar.gz" -C "$work"
    mkdir -p .cache/yyjson
    cp "$work"/yyjson-*/yyjson/yyjson.h "$work"/yyjson-*/LICENSE .cache/yyjson/
    # The file whose presence says that all are there comes last, and at once.
    cp "$work"/yyjson-*/yyjson/yyjson.c .cache/yyjson/yyjson.c.part
    mv .cache/yyjson/yyjson.c.part .cache/yyjson/yyjson.c
}

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    missing=""
    for package in $packages; do
        is_installed "$package" || missing="$missing $package"
    done
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || install_packages $missing
else
    say "this is no Debian: what is missing is not installed. The packages would be: $packages"
fi
pkg-config --exists yyjson || [ -f .cache/yyjson/yyjson.c ] || fetch_yyjson

# The Python tools that the model cache is shared with, for the test that both get along. Its dependencies are PyPI's newest.
hub_version=2.4.0
if [ "${1:-}" = --test ] && [ ! -d .cache/huggingface_hub ]; then
    say "installing huggingface_hub for the tests"
    mkdir -p .cache
    rm -rf .cache/huggingface_hub.part
    python3 -m pip install -q --root-user-action=ignore --target .cache/huggingface_hub.part "huggingface_hub==$hub_version" >&2 &&
        mv .cache/huggingface_hub.part .cache/huggingface_hub || say "it cannot be had: the test of the shared cache is skipped"
fi
