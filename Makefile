# The targets that people use; `make help` explains them.
.DEFAULT_GOAL := help
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X main.version=$(VERSION)
# A number of inputs: when a time is over, the go command may call that a failure.
FUZZTIME ?= 300000x
LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULN = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/triwatch
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/triwatch ./cmd/triwatch

.PHONY: redis
redis:
	@test/need redis-server redis-server
	@test/need redis-cli redis-tools

.PHONY: demo
demo: redis build ## Watch a master die and a replica take over (ARGS="--handover", ARGS="--keep")
	@bin/triwatch demo $(ARGS)

# Clients of Sentinel that were written elsewhere, for the tests.
CLIENTS = test/process/testdata/clients
.PHONY: clients
clients: $(CLIENTS)/node_modules/.package-lock.json
	@test/need redis-py python3-redis 'python3 -c "import redis" || /usr/bin/python3 -c "import redis"'

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	@test/need node nodejs
	@test/need npm npm
	npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: test
test: redis clients ## Run all tests that need nothing installed by hand (about 10 minutes)
	@test/need redis-sentinel redis-sentinel
	$(GO) vet ./...
	$(GO) test -timeout 20m -parallel 4 ./...

.PHONY: race
race: redis clients ## Run the tests under the race detector
	GORACE=suppressions=$(CURDIR)/test/race.supp $(GO) test -race -timeout 30m -parallel 4 ./...

.PHONY: sim
sim: ## Run 10 000 simulated schedules, and 10 000 of those of chaos
	$(GO) test -timeout 15m ./test/sim -run 'TestSchedules|TestChaosSchedules' -sim.seeds 10000

.PHONY: chaos-needs
chaos-needs: redis
	@test/need ip iproute2
	@test/need nft nftables
	@test/need iptables iptables
	@test/need unshare util-linux

# What is known of schedules that failed goes here.
CHAOS_KEEP ?= $(CURDIR)/bin/chaos-failed
CHAOS = $(GO) test ./test/chaos -count=1 -v -timeout 0 -chaos.keep $(CHAOS_KEEP)

.PHONY: chaos
chaos: chaos-needs ## Play faults on real processes in network namespaces (root on Linux; SEED=1 TIME=5m, or FILE=schedule.txt)
	$(CHAOS) -run '$(if $(FILE),TestChaos$$,TestChaos)' -chaos.seed $(or $(SEED),1) -chaos.time $(or $(TIME),5m) $(if $(FILE),-chaos.file $(abspath $(FILE)))

.PHONY: chaos-ci
chaos-ci: chaos-needs ## Play TIME=10m of schedules that nobody has seen before, and those that failed once
	$(CHAOS) -run TestChaos -chaos.seed $(or $(SEED),0) -chaos.time $(or $(TIME),10m)

.PHONY: test-upgrade
test-upgrade: redis ## Roll watchers between builds of different levels, with a failover in every mix (3 minutes)
	$(GO) test ./test/upgrade -upgrade -count=1 -v -timeout 15m

.PHONY: lint
lint: ## Run gofmt and golangci-lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) run $(LINT) run ./...
	cd test/kube && $(GO) run $(LINT) run -c ../../.golangci.yml ./...

.PHONY: vuln
vuln: ## Look up known vulnerabilities (asks the Go vulnerability database)
	$(GO) run $(VULN) ./...

.PHONY: fuzz
fuzz: ## Fuzz every parser with FUZZTIME inputs each (default 300000x)
	@for t in $$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | cut -c6- | sort -u); do \
		dir=$$(grep -rlE "^func $$t\(" --include='*_test.go' . | head -1 | xargs dirname); \
		echo "fuzz $$dir $$t"; \
		$(GO) test -run '^$$' -fuzz "^$$t$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
	done

.PHONY: bench
bench: redis build ## Measure failovers beside redis-sentinel (about 20 minutes; RUNS=7)
	@test/need redis-sentinel redis-sentinel
	$(GO) run ./test/bench -triwatch bin/triwatch -runs $(or $(RUNS),7)

.PHONY: restarts
restarts: redis build ## Kill masters and bring them back empty or with old data (RUNS=200: two hours)
	$(GO) run ./test/restarts -triwatch bin/triwatch -runs $(or $(RUNS),200) $(ARGS)

.PHONY: bench-load
bench-load: redis build ## Ten minutes under busy processors: no failover, then one
	$(GO) run ./test/bench -triwatch bin/triwatch -only busy

IMAGE ?= triwatch:dev

.PHONY: image
image: build ## Build bin/triwatch-image.tar, for docker load, kind load, ctr images import (IMAGE=triwatch:dev)
	cd test/kube && $(GO) run ./cmd/image -binary $(CURDIR)/bin/triwatch -name $(IMAGE) -out $(CURDIR)/bin/triwatch-image.tar

# What a one-node Kubernetes takes from Debian; the rest is built from Go modules.
.PHONY: kube-needs
kube-needs:
	@test/kube/root
	@test/need redis-server redis-server
	@test/need redis-cli redis-tools
	@test/need containerd containerd
	@test/need runc runc
	@test/need etcd etcd-server
	@test/need /usr/lib/cni/bridge containernetworking-plugins
	@test/need ip iproute2
	@test/need nft nftables
	@test/need conntrack conntrack
	@test/need busybox busybox-static
	@test/need nsenter util-linux

.PHONY: e2e
e2e: kube-needs build ## Run the product in a real one-node Kubernetes (root on Linux, at most 25 minutes)
	cd test/kube && $(GO) vet ./... && $(GO) test -count=1 -timeout 10m ./cluster ./image ./lab
	cd test/kube && $(GO) test -count=1 -timeout 25m -v ./e2e $(ARGS)

.PHONY: e2e-bench
e2e-bench: kube-needs build ## Measure failovers on Kubernetes (about 25 minutes; RUNS=7)
	cd test/kube && $(GO) run ./cmd/bench -triwatch $(CURDIR)/bin/triwatch -runs $(or $(RUNS),7) $(ARGS)

.PHONY: cluster
cluster: kube-needs image ## Leave a one-node Kubernetes running until Ctrl-C, with both images loaded
	cd test/kube && $(GO) run ./cmd/cluster -redis docker.io/library/redis:7.0 -image $(CURDIR)/bin/triwatch-image.tar $(ARGS)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
