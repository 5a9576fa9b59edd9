# The two commands are `make demo` and `make test`. Each sets up what it needs, once.
.PHONY: help setup build demo test test-long bench bench-nexmark lint format asan tsan fuzz clean
BUILD := build/release

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## bring packages and pinned libraries
	@tools/setup.sh build

build: setup ## build/millrace (release)
	@cmake --preset release > build/configure.log 2>&1 || { tail -30 build/configure.log; exit 1; }
	@cmake --build --preset release --target millrace
	@ln -sf release/src/millrace build/millrace

demo: build ## a year of flights, live (ONCE=1: exit at the end)
	@tools/setup.sh demo
	@build/deps/demo-venv/bin/python examples/flights/demo.py $(if $(ONCE),--once)

test: build ## every test
	@tools/setup.sh test
	@cmake --build --preset release
	@build/deps/test-venv/bin/python test/run.py

test-long: build ## every test, with 100 kill -9 under transactions, 20,000 simulated lives of a log, 3,000 random queries and 1.5 GB of state
	@tools/setup.sh test
	@cmake --build --preset release
	@MR_ROUNDS=100 MR_SIMULATIONS=20000 MR_RANDOM_QUERIES=3000 MR_STATE_ROWS=2000000 MR_TEST_TIMEOUT=3600 build/deps/test-venv/bin/python test/run.py

bench: build ## measure, next to Apache Kafka
	@tools/setup.sh test
	@cmake --build --preset release --target millrace_wire millrace_replay millrace_floor millrace_client_bench
	@build/deps/test-venv/bin/python bench/run.py

bench-nexmark: build ## NEXMark over JSON in a topic, beside Flink and Hazelcast; NEXMARK names the folder of its generator, answers and peers
	@tools/setup.sh test
	@build/deps/test-venv/bin/python bench/nexmark.py --peers --events 5000000 --runs 1

lint: build ## clang-format and clang-tidy over src/
	@tools/lint.sh

format: ## clang-format in place
	@git ls-files 'src/*.h' 'src/*.cc' 'test/*.cc' 'bench/*.cc' 'sdk/cpp/client/*.h' 'sdk/cpp/client/*.cc' | xargs clang-format-19 -i

asan tsan: setup ## unit tests under a sanitizer
	@cmake --preset $@ > /dev/null
	@cmake --build --preset $@
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tools/tsan.supp ctest --test-dir build/$@ --output-on-failure

FUZZ_SECONDS ?= 600
fuzz: setup ## each fuzzer for FUZZ_SECONDS (600), one after the other; what they learn stays in build/corpus
	@cmake --preset fuzz > /dev/null
	@cmake --build --preset fuzz
	@for f in build/fuzz/test/fuzz/*_fuzz; do \
	  corpus=build/corpus/$$(basename $$f); mkdir -p $$corpus; \
	  echo "== $$(basename $$f)"; \
	  $$f -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 -artifact_prefix=$$corpus- $$corpus || exit 1; \
	done

clean: ## forget what was built; keeps build/deps
	@rm -rf build/release build/debug build/asan build/tsan build/fuzz build/millrace
