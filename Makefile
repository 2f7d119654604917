# make run    build ./bin/kapi and run `kapi serve` (ARGS="--flag ..." adds flags)
# make check  lint and test the fast packages, in under a minute; installs nothing, says what it omits
# make test   all checks: install test dependencies, lint, cross-build, test
# make soak   the tests with long loops: about four hours on two cores
# make bench  the benchmarks in bench/
# make bench-crowd  the benchmarks of a thousand commands at once, in bench/crowd (CROWD=PART for one part)
# make bench-page  benchmark the web page with 1,000 actions, in a real browser
# make pictures    retake the screenshots in the documentation
# make notices     regenerate cmd/kapi/notices.txt: the licences of everything linked into kapi
# make lint   go vet, gofumpt, staticcheck
# make lint-openapi   run redocly's linter on docs/openapi.yaml; needs npm
# make build  build ./bin/kapi, a static binary
# make clean  remove bin/

# The binary has no version if there is no commit, or if git distrusts the checkout because
# another user owns it.
VCS := -buildvcs=$(if $(shell git rev-parse --verify --quiet HEAD 2>/dev/null),auto,false)

# One set of build flags for everything except the race detector, which needs cgo: with each
# further set the database engine would be compiled again.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath $(VCS)

TOOL := go tool -modfile=tools/go.mod
RACE := CGO_ENABLED=1 GOFLAGS=$(VCS) go test -race -vet=off -shuffle=on

# All other modules with packages; tools/ only pins versions.
MODULES := $(filter-out tools,$(patsubst %/go.mod,%,$(wildcard */go.mod examples/*/go.mod)))

.PHONY: help run build check test soak bench bench-crowd bench-page pictures notices lint lint-openapi cross modules deps clean

help:
	@sed -n 's/^# make /make /p' Makefile

run: build
	@exec ./bin/kapi serve $(ARGS)

build:
	go build -ldflags '-s -w' -o bin/kapi ./cmd/kapi

# The slowest packages run first; the last one keeps all cores busy by itself. The tests leave
# artifacts, mainly screenshots of the page, under bin/_artifacts.
LONG := ./internal/acceptance ./postgres ./internal/browser ./cmd/kapi ./sqlite
LAST := ./internal/linear

# Packages that need a database, a browser or the built program are omitted, and so are the race detector
# (which needs a C compiler), the cross builds and the other modules.
SLOW := $(LONG) $(LAST) ./internal/pgtest

check: lint
	go test -vet=off -timeout 2m $(filter-out $(SLOW:./%=github.com/kettubot/kapi/%),$(shell go list ./...))
	@echo "make check leaves out $(SLOW:./%=%), the race detector, cross builds and the other modules: make test has them"

test: deps lint build cross modules
	@rm -rf bin/_artifacts && mkdir -p bin/_artifacts
	$(RACE) -timeout 20m -artifacts -outputdir "$(CURDIR)/bin" $(LONG) $$(go list ./... | grep -v $(LAST:.%=%))
	$(RACE) -timeout 20m -artifacts -outputdir "$(CURDIR)/bin" $(LAST)

# One package at a time: the crash tests check how many seconds kapi takes, which fuzzing at the
# same time would disturb.
soak: deps
	KAPI_SOAK=1 $(RACE) -p 1 -timeout 4h ./...
	KAPI_SOAK=1 go -C examples/reshard test -count=1 -timeout 4h ./...

bench:
	go -C bench test -run xxx -bench . .

bench-crowd: deps
	go -C bench test -run xxx -bench 'Crowd/$(CROWD)' -benchtime 1x -timeout 4h ./crowd $(ARGS)

bench-page: deps
	go test -run xxx -bench Page -benchtime 1x -timeout 20m ./internal/browser

# Through a temporary file, as the build needs the old one.
notices:
	go run ./internal/notices ./cmd/kapi > cmd/kapi/notices.txt.new
	mv cmd/kapi/notices.txt.new cmd/kapi/notices.txt

pictures: deps
	go test -count 1 -run '^TestPictures$$' ./internal/browser -args -pictures "$(CURDIR)/docs/pictures"

lint:
	@unformatted=$$($(TOOL) gofumpt -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofumpt:" $$unformatted; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...

# make test checks the same rules with linters written in Go: see openapi/lint_test.go.
lint-openapi:
	npx --yes @redocly/cli@2.77.0 lint --extends recommended-strict docs/openapi.yaml

cross:
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./...
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./...

# Without the test cache, which ignores files that a test reads in another module.
modules:
	@set -e; for m in $(MODULES); do \
		echo "go vet, go build, go test: $$m"; go -C $$m vet ./...; go -C $$m build -o /dev/null ./...; \
		go -C $$m test -count=1 ./...; \
	done

deps:
	@scripts/test-deps

clean:
	rm -rf bin
