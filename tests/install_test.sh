#!/bin/sh
# What `make install` installs is enough to write a program in C or C++, with pkg-config or CMake, against the shared or
# the static library: nothing of the source tree but the program itself, which is the one that README.md shows, and the
# installation moved after it was made. The manual is there, and the command runs.
#     install_test.sh BUILD_FOLDER README.md MODEL_FOLDER
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }
logged() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "failed: $*"; }; }

logged cmake --install "$1" --prefix "$work/first"
mv "$work/first" "$work/usr"
if grep -rIl "$work/first\|$1" "$work/usr"; then fail "these name the folder they were built in or installed to"; fi
PKG_CONFIG_PATH=$(dirname "$(find "$work" -name llmlocal.pc)")
export PKG_CONFIG_PATH
library=$(pkg-config --variable=libdir llmlocal)

sed -n '/^```c$/,/^```$/{/^```/d;p}' "$2" | sed "s#path/to/an-mlx-model#$3#" >"$work/program.c"
cp "$work/program.c" "$work/program.cpp"
cd "$work"

# The shared library asks for no development files but its own.
logged env PKG_CONFIG_LIBDIR="$PKG_CONFIG_PATH" PKG_CONFIG_PATH= pkg-config --cflags --libs llmlocal

# pkg-config: each pair of words is a compiler and its language.
for row in "cc c17" "c++ c++17"; do
    compiler=${row% *} language=${row#* }
    source=program.c
    [ "$language" = c17 ] || source=program.cpp
    # shellcheck disable=SC2046 # words
    logged "$compiler" -std="$language" -Wall -Wextra -Wpedantic -Werror $source -o "pc-shared-$language" $(pkg-config --cflags --libs llmlocal)
    # shellcheck disable=SC2046
    logged "$compiler" -std="$language" $source -o "pc-static-$language" $(pkg-config --cflags llmlocal) "$library/libllmlocal.a" \
        $(pkg-config --libs --static llmlocal | sed 's/-lllmlocal//')
done

# CMake
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(program LANGUAGES C CXX)
set(CMAKE_C_STANDARD 17)
set(CMAKE_CXX_STANDARD 17)
find_package(llmlocal 0.1 REQUIRED COMPONENTS static)
foreach(kind shared static)
  add_executable(cmake-${kind}-c17 program.c)
  add_executable(cmake-${kind}-c++17 program.cpp)
endforeach()
foreach(language c17 c++17)
  target_link_libraries(cmake-shared-${language} llmlocal::llmlocal)
  target_link_libraries(cmake-static-${language} llmlocal::static)
endforeach()
END
logged cmake -S . -B . -DCMAKE_PREFIX_PATH="$work/usr"
logged cmake --build .
# A program that wants the shared library needs nothing but the library; another major version is refused.
sed 's/ COMPONENTS static//; /llmlocal::static/d' CMakeLists.txt >"$work/usr/CMakeLists.txt"
cp program.c program.cpp usr
logged env PKG_CONFIG=/bin/false cmake -S usr -B shared-only -DCMAKE_PREFIX_PATH="$work/usr"
sed 's/llmlocal 0.1/llmlocal 1.0/' CMakeLists.txt >"$work/usr/CMakeLists.txt"
if cmake -S usr -B wrong -DCMAKE_PREFIX_PATH="$work/usr" >log 2>&1; then fail "version 1.0 was found"; fi
grep -q 'version: 0' log || { cat log; fail "the wrong version was refused for another reason"; }

for how in pc cmake; do
    for language in c17 c++17; do
        readelf -d "$how-shared-$language" | grep -q 'NEEDED.*libllmlocal\.so\.0]' || fail "$how-shared-$language: no soname with a version"
        if readelf -d "$how-static-$language" | grep -q llmlocal; then fail "$how-static-$language does not use the static library"; fi
        for program in $how-shared-$language $how-static-$language; do
            answer=$(LD_LIBRARY_PATH=$library "./$program") || fail "$program failed: $answer"
            [ -n "$answer" ] || fail "$program said nothing"
        done
    done
done

version=$("$work/usr/bin/llmlocal" --version) || fail "the command does not run"
case $version in *" $(pkg-config --modversion llmlocal)"*) ;; *) fail "the command says $version, pkg-config $(pkg-config --modversion llmlocal)" ;; esac
nm -D --defined-only "$library/libllmlocal.so" | grep -v ' llm_' && fail "the installed library exports more than llm_..."
test -s "$work/usr/share/man/man1/llmlocal.1" || fail "the manual is missing"
# A plugin that was built is installed, too, and opened where the installation is now.
if find "$library" -name 'libllmlocal-mlx.*' | grep -q .; then
    "$work/usr/bin/llmlocal" engines | grep -q '^mlx .* version' || fail "the installed command does not open its plugin: $("$work/usr/bin/llmlocal" engines)"
fi
