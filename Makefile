# gnsfs.  `make deps` (apt, as root), `make`, `make check`, `make install`.
#
# Every .c file of a source folder is built; a new file needs no line here.

CC ?= cc
PREFIX ?= /usr
MOUNTDIR ?= /sbin
DESTDIR ?=
B ?= build
CFLAGS ?= -O2 -g
WARN = -Wall -Wextra -Werror=implicit-function-declaration -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wno-unused-parameter -Wno-missing-field-initializers
PKGS = fuse3 liburing libcurl sqlite3 libcrypto libzstd jansson expat
CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(SAN) $(shell pkg-config --cflags $(PKGS))
LDLIBS = $(shell pkg-config --libs $(PKGS)) -lpthread -lm
# SAN=... sanitizers: make B=build-asan SAN="-fsanitize=address,undefined -fno-omit-frame-pointer"
SAN ?=

DIRS = base backends meta cache fs
SRC = $(wildcard $(addsuffix /*.c,$(DIRS)))
TOOLS_SRC = $(wildcard tools/*.c)
OBJ = $(SRC:%.c=$(B)/%.o)
TOOLS_OBJ = $(TOOLS_SRC:%.c=$(B)/%.o)
UNIT = $(patsubst test/unit/%.c,$(B)/test/%,$(wildcard test/unit/*.c))

all: gnsfs mount.gnsfs

gnsfs: $(B)/gnsfs
	ln -sf $< $@

mount.gnsfs: $(B)/gnsfs
	ln -sf $< $@

$(B)/gnsfs: $(TOOLS_OBJ) $(B)/libgnsfs.a
	$(CC) $(SAN) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libgnsfs.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $(OBJ)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# One folder alone, for work on it: make base, make meta, ...
$(DIRS): %:
	$(MAKE) $(patsubst %.c,$(B)/%.o,$(wildcard $@/*.c))

$(B)/test/%: test/unit/%.c $(B)/libgnsfs.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(B)/libgnsfs.a \
		$(LDLIBS) $(shell pkg-config --cflags --libs check)

unit: $(UNIT)

check: unit gnsfs check-man
	sh test/run-unit.sh $(filter-out %_live,$(UNIT))

# The pages that are made from the command's own tables; committed.
MADE_PAGES = gnsfs.1 mount.gnsfs.8 gnsfs-format.1 gnsfs-mount.1 \
	gnsfs-store.1 gnsfs-pin.1 gnsfs-find.1 gnsfs-status.1
PAGES = $(MADE_PAGES) gnsfs.5

man: $(B)/gnsfs
	for p in $(MADE_PAGES); do $< help --man $$p > man/$$p || exit 1; done

check-man: $(B)/gnsfs
	@for p in $(MADE_PAGES); do $< help --man $$p | cmp - man/$$p || \
		{ echo "man/$$p is not what the tables say: make man"; \
		exit 1; }; done

install: $(B)/gnsfs
	install -D -m 755 $< $(DESTDIR)$(PREFIX)/bin/gnsfs
	install -d $(DESTDIR)$(MOUNTDIR)
	for h in mount.gnsfs mount.fuse.gnsfs; do ln -sf $(PREFIX)/bin/gnsfs \
		$(DESTDIR)$(MOUNTDIR)/$$h || exit 1; done
	for p in $(PAGES); do install -D -m 644 man/$$p \
		$(DESTDIR)$(PREFIX)/share/man/man$${p##*.}/$$p || exit 1; done
	$< help | sed -n 's/^  \([a-z]*\) .*/\1/p' | while read -r c; do \
		$< help --man gnsfs-$$c.1 \
		>$(DESTDIR)$(PREFIX)/share/man/man1/gnsfs-$$c.1 || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$< help --completion bash > \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/gnsfs
	install -d $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions
	$< help --completion zsh > \
		$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_gnsfs

lint: gnsfs
	sh test/lint.sh

# Everything that CI runs; and both commands of the README in a clean root.
check-all:
	sh test/all.sh

cleanroot:
	sh test/cleanroot.sh

deps:
	sh test/deps.sh build

clean:
	rm -rf build build-* gnsfs mount.gnsfs

-include test/fuzz/fuzz.mk
-include $(OBJ:.o=.d) $(TOOLS_OBJ:.o=.d) $(UNIT:=.d)

.PHONY: all $(DIRS) unit check check-all cleanroot lint deps clean man \
	check-man install

# Benchmarks (root; installs s3fs, fio, rclone, versitygw): BENCH="--list" says
# which; BENCH="--only read --rounds 3 --scale 0.1" a small one.
bench: gnsfs
	sh test/bench/bench.sh $(BENCH)

.PHONY: bench

# Where the cycles go, of what has no kernel in it: time and CPU, then
# instructions by function.
$(B)/small_files: test/bench/small_files.c $(B)/libgnsfs.a
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

profile: $(B)/small_files
	$<
	valgrind --tool=callgrind --callgrind-out-file=$(B)/callgrind.out \
		$< 1000
	callgrind_annotate --inclusive=yes $(B)/callgrind.out | head -100

.PHONY: profile

# The long form of test/mounted/crash.sh: kill -9, fifty times, under load.
crash: gnsfs
	ROUNDS=50 LOAD=12 sh test/mounted/crash.sh

.PHONY: crash

# Suites in checkouts that you built: make ltp DIR=../ltp [WHAT="fs dio"].
pjdfstest-c xfstests ltp: gnsfs
	@[ -n "$(DIR)" ] || { echo "make $@ DIR=checkout"; exit 2; }
	sh test/checkouts.sh $@ "$(DIR)" $(WHAT)

.PHONY: pjdfstest-c xfstests ltp
