# Filoscope's front door. `make demo` and `make test` need nothing but Debian and a Swift toolchain (6.2 or newer).
SHELL := /bin/bash
PREFIX ?= /usr
DESTDIR ?=
CONFIGURATION ?= release
BUILD := .build/$(CONFIGURATION)
# The programs carry the Swift runtime: they run where no toolchain is.
SWIFT_BUILD := swift build -c $(CONFIGURATION) --static-swift-stdlib

.PHONY: help deps build demo test quick-test lint format install parity clean test-deps evaluate coherence bench-peers cross test-arm counts test-camera test-memory

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

deps: ## install the Debian packages that are missing (asks for root only then)
	@scripts/deps.sh

build: deps ## the daemon, the command line and the benchmarks
	$(SWIFT_BUILD)

demo: build ## start the daemon on a private socket, make several videos, leave them in ./demo
	@scripts/demo.sh $(BUILD)

test-deps:
	@scripts/deps.sh test

test: test-deps ## everything that CI runs, minutes per stage printed
	@scripts/test.sh

cross: ## build for ARM boards (Debian 13) on an x86-64 machine, into .build-arm; fetches what that takes
	@scripts/cross.sh

test-arm: deps ## run the tests and whole jobs on emulated ARM CPUs, count the kernels' instructions
	@scripts/test-arm.sh

test-camera: build test-deps ## both cameras against the kernel's own drivers, in a machine that QEMU emulates
	@scripts/test-camera.sh $(BUILD)

test-memory: build ## weights larger than the memory allowed: passes under cgroup v2, in a machine that QEMU emulates
	@scripts/test-memory.sh $(BUILD)

counts: ## take today's instruction counts as the ceilings of the kernels for ARM
	@python3 Tests/InstructionCounts/counts.py --refresh

quick-test: ## unit tests only
	swift test

lint: ## formatting and the arrows between rooms
	@scripts/lint.sh

format: ## rewrite sources in the house format
	swift format --in-place --recursive --parallel --configuration .swift-format Package.swift Sources Tests

parity: build ## compare the networks with the goldens of the reference implementations
	$(BUILD)/filoscope-bench parity Tests/Goldens

PYTHON ?= python3
evaluate: build ## judge nano's own videos, made by the daemon (needs torch: Quantization/train/README.md)
	cd Quantization && $(PYTHON) -m train.evaluate --daemon ../$(BUILD) --all --prompts 300 --seeds 3 --sheet evaluation.png

JUDGE := checkpoints/judge.safetensors
coherence: build ## does what nano makes hold together: long videos, extensions, loops, given frames, edits
	$(BUILD)/filoscope-bench coherence Models/nano --sheet coherence.jpg $(if $(wildcard $(JUDGE)),--judge $(JUDGE))

bench-peers: build ## compare linears, attention and steps with ONNX Runtime, OpenVINO and PyTorch
	@scripts/bench-peers.sh $(BUILD)/filoscope-bench

install: build ## install under DESTDIR
	@scripts/install.sh "$(BUILD)" "$(DESTDIR)" "$(PREFIX)"

clean: ## remove what was built
	rm -rf .build .build-arm .build-arm-tests demo
