# cbuild: one non-recursive Makefile. Targets: all check check-e2e asan tsan lint bench grammar deps install clean.
# V=1 shows commands; VARIANT=release|debug|asan|tsan; WERROR=1; user CFLAGS and LDFLAGS come last.

# Who may include whom: longest prefix wins; a row allows its own folder, but no folder below it that has a row of its own.
define LAYERS
base/:
parser/: base/
cache/: base/
runtime/helper/: base/
runtime/: base/ runtime/helper/
runtime/container/: base/ cache/ runtime/ runtime/helper/
registry/: base/ cache/
registry/server/: base/ cache/ registry/
solver/core/: base/
solver/: base/ parser/ cache/ runtime/ registry/ solver/core/
cmd/: base/ parser/ cache/ runtime/ runtime/container/ registry/ registry/server/ solver/ solver/core/
endef
export LAYERS

MODULES = base parser cache runtime runtime/container registry registry/server solver/core solver cmd
# Which archives a unit program of tests/unit/MODULE_x.c links, lowest last.
UNIT_base = base
UNIT_parser = parser base
UNIT_cache = cache base
UNIT_runtime = runtime base
UNIT_container = runtime/container runtime cache base
UNIT_registry = registry cache base
UNIT_core = solver/core base
UNIT_solver = solver solver/core registry runtime cache parser base

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

VARIANT ?= release
B = build/$(VARIANT)
CC ?= gcc
ifeq ($(origin CC),default)
CC = gcc
endif
Q = $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);)

# Linked: these. Opened on first use by stub files (lib_curl.c …): libcurl, libarchive; for them only headers are needed.
LINKED = libcrypto sqlite3 tree-sitter jansson libseccomp libcap libzstd libisal
STUBBED = libcurl libarchive
PKGS := $(LINKED) $(STUBBED)
DEB_libcrypto = libssl-dev
DEB_sqlite3 = libsqlite3-dev
DEB_tree-sitter = libtree-sitter-dev
DEB_jansson = libjansson-dev
DEB_libseccomp = libseccomp-dev
DEB_libcap = libcap-dev
DEB_libzstd = libzstd-dev
DEB_libisal = libisal-dev
DEB_libcurl = libcurl4-openssl-dev
DEB_libarchive = libarchive-dev
NEEDS_PKGS := $(filter-out clean deps,$(or $(MAKECMDGOALS),all))
ifneq ($(NEEDS_PKGS),)
MISSING := $(foreach p,$(PKGS),$(if $(shell pkg-config --exists $(p) && echo y),,$(DEB_$(p))))
ifneq ($(strip $(MISSING)),)
$(error missing libraries: apt-get install $(strip $(MISSING)) (or: make deps))
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
PKG_LIBS := $(shell pkg-config --libs $(LINKED))
endif

OPT_release = -O2 -g
OPT_debug = -O0 -g3
OPT_asan = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan = -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT_cov = -O0 -g --coverage
OPT_fuzz = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# _FORTIFY_SOURCE wants optimisation and does not mix with the sanitizers.
FORTIFY_release = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings -Wundef -Wcast-qual
# Not part of the flags' stamp: it changes no object.
ERROR = $(if $(WERROR),-Werror)
BASE_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -pthread -fno-common -fstack-protector-strong -MMD -MP $(WARN)
ALL_CFLAGS = $(BASE_CFLAGS) -fPIE $(OPT_$(VARIANT)) $(FORTIFY_$(VARIANT)) $(PKG_CFLAGS) -DCBUILD_VERSION='"$(VERSION)"' $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,--as-needed -pthread $(OPT_$(VARIANT)) $(LDFLAGS)
VERSION = 0.1.0

src = $(wildcard $(1)/*.c)
obj = $(patsubst %.c,$(B)/%.o,$(call src,$(1)))
lib = $(B)/lib$(subst /,-,$(1)).a

all: $(B)/cbuild

# ---- the helper: static, libc only, without sanitizers, embedded into runtime/ as bytes
HELPER_BASE = err mem str utf8 io clock
HELPER_SRC = $(wildcard runtime/helper/*.c) $(HELPER_BASE:%=base/%.c)
HELPER_OBJ = $(HELPER_SRC:%.c=$(B)/helper.o/%.o)
HELPER_CFLAGS = $(BASE_CFLAGS) -fno-pie -Os -g -ffunction-sections -fdata-sections -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2

$(B)/helper.o/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,helper $<)$(CC) $(HELPER_CFLAGS) $(ERROR) -c $< -o $@

# All that a container prints goes through this.
$(B)/helper.o/runtime/helper/monitor_log.o: HELPER_CFLAGS += -O2

$(B)/helper: $(HELPER_OBJ)
	$(call say,LD,$@)$(CC) -static -no-pie -Wl,--gc-sections,-z,relro,-z,now -o $@.debug $^ && strip -o $@ $@.debug

$(B)/runtime/embed.o: runtime/embed.S $(B)/helper
	@mkdir -p $(@D)
	$(call say,AS,$<)$(CC) -DHELPER='"$(B)/helper"' -c $< -o $@

# ---- objects and archives
$(B)/flags: FORCE
	@mkdir -p $(B)
	@printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CFLAGS) $(HELPER_CFLAGS) $(ALL_LDFLAGS))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CFLAGS) $(HELPER_CFLAGS) $(ALL_LDFLAGS))' > $@
FORCE:

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ERROR) -c $< -o $@

# Generated code is not held to our warnings.
$(B)/parser/grammar/src/%.o: parser/grammar/src/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(filter-out $(WARN),$(ALL_CFLAGS)) -w -Iparser/grammar/src -c $< -o $@

EXTRA_parser = $(patsubst %.c,$(B)/%.o,$(wildcard parser/grammar/src/*.c))
# The helper as bytes, and what both sides are built from.
EXTRA_runtime = $(B)/runtime/embed.o $(B)/runtime/helper/proto.o $(B)/runtime/helper/inroot.o $(B)/runtime/helper/monitor_log.o
define archive
$(call lib,$(1)): $(call obj,$(1)) $(EXTRA_$(1))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach m,$(filter-out cmd,$(MODULES)),$(eval $(call archive,$(m))))

LIBS = $(foreach m,registry/server runtime/container solver solver/core registry runtime cache parser base,$(call lib,$(m)))
$(B)/cbuild: $(call obj,cmd) $(LIBS)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $(call obj,cmd) -Wl,--start-group $(LIBS) -Wl,--end-group $(PKG_LIBS) -ldl

# ---- unit programs: tests/unit/MODULE_x.c
UNIT_SRC = $(wildcard tests/unit/*.c)
UNIT = $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)
unit_libs = $(foreach m,$(UNIT_$(firstword $(subst _, ,$(1)))),$(call lib,$(m)))
# cmd/ has no archive: what a program tests of it.
UNIT_cmd = base
unit_objs = $(if $(filter cmd_template,$(1)),$(B)/cmd/template_parse.o $(B)/cmd/template_run.o $(B)/cmd/template_call.o)
define unit
$(B)/unit/$(1): $(B)/tests/unit/$(1).o $(call unit_objs,$(1)) $(call unit_libs,$(1))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(call unit_libs,$(1)) -Wl,--end-group $$(PKG_LIBS) -lcmocka -ldl
endef
$(foreach u,$(UNIT_SRC:tests/unit/%.c=%),$(eval $(call unit,$(u))))

# ---- fuzz targets: built with a plain main that replays testdata/fuzz/NAME/*; `make fuzz` builds them with libFuzzer
FUZZ_SRC = $(wildcard tests/fuzz/fuzz_*.c)
FUZZ = $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
FUZZ_MAIN = $(if $(filter fuzz,$(VARIANT)),,$(B)/tests/fuzz/replay.o)
FUZZ_LDFLAGS_fuzz = -fsanitize=fuzzer
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(FUZZ_MAIN) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $(FUZZ_LDFLAGS_$(VARIANT)) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(PKG_LIBS) -ldl

# ---- benchmarks
BENCH_SRC = $(wildcard tests/bench/bench_*.c)
BENCH = $(BENCH_SRC:tests/bench/%.c=$(B)/bench/%)
$(B)/bench/%: $(B)/tests/bench/%.o $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group $(PKG_LIBS) -ldl

# ---- checks
units: $(UNIT)
check: all $(UNIT) $(FUZZ)
	$(Q)tests/run-checks --build $(B) $(CHECKS)
check-unit: $(UNIT)
	$(Q)tests/run-checks --build $(B) unit
check-e2e: all
	$(Q)tests/run-checks --build $(B) e2e
asan:
	$(Q)$(MAKE) VARIANT=asan check
tsan:
	$(Q)$(MAKE) VARIANT=tsan check-unit
# Fuzzes each target for TIME seconds (ONLY=parse: one); needs clang and libclang-rt-dev.
fuzzers: $(FUZZ)
fuzz:
	$(Q)$(MAKE) VARIANT=fuzz CC=clang fuzzers
	$(Q)tests/fuzz/run build/fuzz/fuzz
layers:
	$(Q)tests/lib/check-layers .
lint:
	$(Q)tests/lib/lint
bench: all $(BENCH)
	$(Q)tests/bench/run $(B)

demo: all
	$(Q)testdata/shop/demo

deps:
	apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $$(sed 's/#.*//' packages.txt)

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
install: all
	install -D -m 755 $(B)/cbuild $(DESTDIR)$(BINDIR)/cbuild
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/cbuild
grammar:
	$(Q)parser/grammar/generate
clean:
	rm -rf build

.PHONY: all units fuzz fuzzers check check-unit check-e2e asan tsan layers lint bench demo deps install uninstall grammar clean FORCE
-include $(shell find $(B) -name '*.d' 2>/dev/null)
