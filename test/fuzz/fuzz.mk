# make fuzz [SECONDS=60] [FUZZ="segment op"]: runs each fuzz target for that
# long; a crash leaves its input in $(B)-fuzz/ and fails.  Needs clang and its
# runtime (Debian: clang libclang-rt-14-dev).

SECONDS ?= 60
FUZZ ?= $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/*.c))
FUZZ_B = $(B)-fuzz
FUZZ_SAN = -fsanitize=address,undefined -fno-sanitize-recover=undefined

fuzz: fuzz-build
	@for t in $(FUZZ); do \
		echo "fuzz $$t: $(SECONDS) s"; \
		mkdir -p $(FUZZ_B)/corpus/$$t && \
		$(FUZZ_B)/fuzz-$$t -max_total_time=$(SECONDS) -timeout=10 \
		    -rss_limit_mb=2048 -print_funcs=0 -verbosity=0 \
		    -artifact_prefix=$(FUZZ_B)/crash-$$t- \
		    $(FUZZ_B)/corpus/$$t || exit 1; \
	done

fuzz-build:
	$(MAKE) B=$(FUZZ_B) CC=clang CFLAGS="-O1 -g" \
	    SAN="-fsanitize=fuzzer-no-link $(FUZZ_SAN)" \
	    $(FUZZ:%=$(FUZZ_B)/fuzz-%)

$(B)/fuzz-%: test/fuzz/%.c test/fuzz/fuzz.h \
    $(patsubst %.c,$(B)/%.o,$(wildcard base/*.c meta/*.c))
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< \
	    $(patsubst %.c,$(B)/%.o,$(wildcard base/*.c meta/*.c)) $(LDLIBS)

.PHONY: fuzz fuzz-build
