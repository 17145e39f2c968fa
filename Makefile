# The commands of this project; each is a script in hack/, which tells more with -help.
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60

.PHONY: help run demo build test test-sanitize fuzz soak lint bench install clean

help:
	@echo 'make run       boot Linux on a MicroVm, to a shell here'
	@echo 'make demo      boot Linux on a MicroVm, print what it sees, power off'
	@echo 'make build     build the release binary, one self-contained file'
	@echo 'make test      run every test'
	@echo 'make test-sanitize  run the unit tests under the sanitizers of addresses and threads'
	@echo 'make fuzz      feed what reads untrusted input with libFuzzer, SECONDS=$(SECONDS) for each subject'
	@echo 'make soak      run the tests that take long'
	@echo 'make lint      check the sources'
	@echo 'make bench     measure start, memory, boot and disk'
	@echo 'make install   put the binary in PREFIX/bin (PREFIX=$(PREFIX), DESTDIR=$(DESTDIR))'
	@echo 'make clean     remove what was built (the downloads in ~/.cache/apus stay)'

run:
	@hack/run

demo:
	@hack/run </dev/null

build:
	@hack/build

test:
	@hack/test

test-sanitize:
	@hack/test sanitize

fuzz:
	@hack/fuzz -s $(SECONDS)

soak:
	@hack/soak

lint:
	@hack/lint

bench:
	@hack/bench/run

install: build
	install -D -m 755 "$$(hack/build -where)" '$(DESTDIR)$(PREFIX)/bin/apus'

clean:
	rm -rf .build
