#!/bin/sh
# The Debian packages have what Debian expects, each file once, and the dependencies that their programs need; unpacked,
# the two of the library are enough to build and run the program that README.md shows.
#     deb_test.sh BUILD_FOLDER README.md MODEL_FOLDER
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }
logged() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "failed: $*"; }; }
field() { dpkg-deb -f "$work/$1"_[0-9]*.deb "$2"; }

# Ninja, which is not run, is CPack's word for: everything is built.
logged cpack -G DEB --config "$1/CPackConfig.cmake" -B "$work" -D CPACK_CMAKE_GENERATOR=Ninja
for package in libllmlocal0 libllmlocal-dev llmlocal; do
    logged dpkg-deb -x "$work/${package}"_[0-9]*.deb "$work/$package"
    [ -s "$work/$package/usr/share/doc/$package/copyright" ] || fail "$package has no copyright"
    [ -s "$work/$package/usr/share/doc/$package/changelog.gz" ] || fail "$package has no changelog"
    [ "$(field $package Version)" = "$(field libllmlocal0 Version)" ] || fail "$package has a version of its own"
    (cd "$work/$package" && find . -type f -o -type l) >>"$work/files"
done
twice=$(sort "$work/files" | uniq -d)
[ -z "$twice" ] || fail "in two packages: $twice"
[ -x "$work/llmlocal/usr/bin/llmlocal" ] && [ -s "$work/llmlocal/usr/share/man/man1/llmlocal.1.gz" ] ||
    fail "the command or its manual is missing"

# dpkg-shlibdeps finds what the files ask for. The command has the library within it.
for package in libllmlocal0 llmlocal; do
    case $(field $package Depends) in *libc6*libpcre2-8-0*libutf8proc*) ;; *) fail "$package depends on $(field $package Depends)" ;; esac
    case $(field $package Depends) in *llmlocal*) fail "$package depends on $(field $package Depends)" ;; esac
done
case $(field libllmlocal-dev Depends) in
"libllmlocal0 (= $(field libllmlocal0 Version)), "*libpcre2-dev*libutf8proc-dev*) ;;
*) fail "libllmlocal-dev depends on $(field libllmlocal-dev Depends)" ;;
esac
[ "$(dpkg-deb -I "$work"/libllmlocal0_*.deb shlibs)" = "libllmlocal 0 libllmlocal0 (>= $(field libllmlocal0 Version))" ] ||
    fail "programs that use the library would get the wrong dependency"

mkdir "$work/root"
cp -a "$work/libllmlocal0/." "$work/libllmlocal-dev/." "$work/root"
PKG_CONFIG_PATH=$(dirname "$(find "$work/root" -name llmlocal.pc)")
export PKG_CONFIG_PATH
sed -n '/^```c$/,/^```$/{/^```/d;p}' "$2" | sed "s#path/to/an-mlx-model#$3#" >"$work/program.c"
# shellcheck disable=SC2046 # words
logged cc -std=c17 "$work/program.c" -o "$work/program" $(pkg-config --cflags --libs llmlocal)
answer=$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir llmlocal) "$work/program") || fail "the program failed: $answer"
[ -n "$answer" ] || fail "the program said nothing"
