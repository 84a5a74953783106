# make            the gate that every commit passes: format, lint, race, test
# make help       the other targets

GO       ?= go
# Pinned in tools/go.mod, apart from our own go.mod.
TOOL     := $(GO) tool -modfile=tools/go.mod
PKGS     ?= ./...
FUZZTIME ?= 20s
SEEDS    ?= 5000
COUNT    ?= 10
BENCH    ?= .
BASE     ?= bench-base.txt

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

.DEFAULT_GOAL := ci
.NOTPARALLEL:
.PHONY: ci run build test race fmt lint fuzz sim bench bench-compare cover help need-go need-cc need-mosquitto

ci: fmt lint race test ## the gate that every commit passes

run: build ## build bin/nackmq and start a node on defaults, data in ./nackmq-data
	@exec bin/nackmq serve --data-dir ./nackmq-data

build: need-go ## build bin/nackmq
	$(GO) build -trimpath -buildvcs=auto -o bin/nackmq ./cmd/nackmq

test: need-go need-mosquitto ## run every test; install mosquitto and its clients if they are missing
	$(GO) test -shuffle=on -timeout=15m $(PKGS)

race: need-go need-cc need-mosquitto ## run every test under the race detector, the long ones shortened
	$(GO) test -race -short -shuffle=on -timeout=15m $(PKGS)

fmt: need-go ## fail on files that gofmt or go mod tidy would change
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "make: gofmt would change these files; run gofmt -w on them:"; echo "$$files"; exit 1; }
	$(GO) mod tidy -diff

lint: need-go ## go vet and staticcheck
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

fuzz: need-go ## run every fuzz target for FUZZTIME (20s)
	@for p in $$($(GO) list $(PKGS)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; \
	    $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

sim: need-go ## run the simulators on SEEDS seeds (5000), or replay one: make sim SEED=17
	NACKSIM_SEEDS=$(if $(SEED),1,$(SEEDS)) NACKSIM_SEED=$(SEED) $(GO) test ./internal/sim -count=1 -timeout=0
	NACKSESSION_SEEDS=$(if $(SEED),1,$(SEEDS)) NACKSESSION_SEED=$(SEED) $(GO) test ./nackproto/session -run Model -count=1 -timeout=0

bench: need-go need-mosquitto ## run the benchmarks COUNT times (10) into bench.txt; BENCH=regexp, PKGS=./broker
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout=0 $(PKGS) | tee bench.txt

bench-compare: need-go ## compare bench.txt with BASE (bench-base.txt)
	$(TOOL) benchstat $(BASE) bench.txt

cover: need-go ## print test coverage
	$(GO) test -coverpkg=./... -coverprofile=cover.out $(PKGS) && $(GO) tool cover -func=cover.out | tail -1

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

need-go:
	@v=$$($(GO) version 2>/dev/null | sed -n 's/.*go1\.\([0-9][0-9]*\).*/\1/p') || true; \
	[ "$${v:-0}" -ge 26 ] || { echo "make: NackMQ needs Go 1.26 or newer, and found $${v:+Go 1.}$${v:-none}: install it from https://go.dev/dl/ and put it on the PATH"; exit 1; }

need-cc:
	@sh tools/need.sh cc

need-mosquitto:
	@sh tools/need.sh mosquitto
