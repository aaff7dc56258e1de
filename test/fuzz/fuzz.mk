# make fuzz [FUZZ_TIME=10] [FUZZ="segment op"]: runs each fuzz target for that
# many seconds, from the seeds of test/fuzz/seeds and what earlier runs found
# ($(B)-fuzz/corpus); a crash leaves its input in $(B)-fuzz/ and fails.  A
# release is worth FUZZ_TIME=600.  Needs clang and its runtime (Debian: clang
# libclang-rt-14-dev); `make fuzz-build` only builds.

FUZZ_TIME ?= 10
FUZZ ?= $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/*.c))
FUZZ_B = $(B)-fuzz
FUZZ_FLAGS ?= -O1 -gline-tables-only
FUZZ_SAN = -fsanitize=address,undefined -fno-sanitize-recover=undefined

fuzz: fuzz-build
	sh test/fuzz/run.sh $(FUZZ_B) $(FUZZ_TIME) $(FUZZ)

fuzz-build:
	$(MAKE) B=$(FUZZ_B) CC=clang CFLAGS="$(FUZZ_FLAGS)" \
	    SAN="-fsanitize=fuzzer-no-link $(FUZZ_SAN)" \
	    $(FUZZ:%=$(FUZZ_B)/fuzz-%) $(FUZZ_B)/fuzz-seeds

# Calls that a target has in place of the program's own.
$(B)/fuzz-s3 $(B)/fuzz-azure $(B)/fuzz-gcs: \
    FUZZ_WRAP = http_perform call_sleep workers_submit
$(B)/fuzz-tokens $(B)/fuzz-creds: FUZZ_WRAP = http_perform call_sleep
$(B)/fuzz-control $(B)/fuzz-pack: FUZZ_WRAP = store_open

$(B)/fuzz-%: test/fuzz/%.c $(wildcard test/fuzz/*.h) $(B)/libgnsfs.a
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fsanitize=fuzzer $(LDFLAGS) \
	    $(FUZZ_WRAP:%=-Wl,--wrap=%) -o $@ $< $(B)/libgnsfs.a $(LDLIBS)

$(B)/fuzz-seeds: test/fuzz/seeds/seeds.c $(B)/libgnsfs.a
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< \
	    $(B)/libgnsfs.a $(LDLIBS)

.PHONY: fuzz fuzz-build
