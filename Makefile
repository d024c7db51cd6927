# braid: atomic transactions and continuous views over several PostgreSQL servers
#
#   make           build               make check    all tests
#   make install   install (as root)   make demo     the demonstration
#   make lint      rules of the code   make bench    measure
#   make format    the look of the code, by clang-format
#   make soak      100,000 random transactions under random kills; 10,000 random views; 1,000,000 reads
#   make demo-saga  orders, payments and stock on three servers, without a transaction over them
#   make bench-nexmark  the queries of the Nexmark benchmark, beside Flink's published figures
#   make check-model  verify the models of the commit protocol, with spin
#   make kafka      build the bridge to Apache Kafka, kafka/README.md (also: make WITH_KAFKA=1, make WITH_KAFKA=1 install)
#   make fuzz       fuzz the reader of messages of streams, with libFuzzer
#
# Variables: PG_CONFIG, WITH_KAFKA=1, FAILPOINTS=1 (fault injection and assertions, for tests only).

PG_CONFIG ?= pg_config
EXTENSION = braid
BRAID_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" braid.control)
MODULE_big = braid
OBJS = $(sort $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c)))

# The install script, in the order in which the parts need each other.
SQL_PARTS = src/common/common.sql \
	src/xa/adoption.sql \
	src/xa/xa.sql \
	src/xa/operator.sql \
	src/xa/statistics.sql \
	src/xa/execute.sql \
	src/xa/restore_point.sql \
	src/xa/doctor.sql \
	src/xa/failover.sql \
	src/xa/deadlock.sql \
	src/xa/snapshot.sql \
	src/stream/stream.sql \
	src/stream/seal.sql \
	src/capture/capture.sql \
	src/capture/statistics.sql \
	src/event/event.sql \
	src/event/reach.sql \
	src/view/watermark.sql \
	src/view/feed.sql \
	src/view/view.sql \
	src/view/statistics.sql \
	src/view/doctor.sql \
	src/topic/topic.sql \
	src/topic/group.sql \
	src/topic/relay.sql \
	src/topic/work.sql \
	src/topic/doctor.sql
DATA_built = braid--$(BRAID_VERSION).sql
DATA = $(wildcard src/upgrade/braid--*.sql)

# Server headers are written for -Wall alone; the exceptions name what -Wextra
# says of their macros and of the server's callback signatures.
PG_CPPFLAGS = -Isrc -I$(shell $(PG_CONFIG) --includedir) -DBRAID_VERSION='"$(BRAID_VERSION)"' \
	$(if $(FAILPOINTS),-DBRAID_FAILPOINTS -DUSE_ASSERT_CHECKING)
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered
SHLIB_LINK = -lpq
EXTRA_CLEAN = .build-flags braid--*.sql build

# Targets that need neither the server's headers nor pg_config.
ALONE = setup check check-model fuzz soak bench bench-nexmark demo demo-saga kafka lint format
ifneq ($(filter-out $(ALONE),$(or $(MAKECMDGOALS),all)),)

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error The server's development files are missing: run "make setup", or see README.md)
endif
override with_llvm = no
include $(PGXS)

# Loops over whole columns are worth vectors.
src/stream/batch.o src/stream/message.o src/view/fast_batch.o src/view/fast_groups.o src/view/fast_vector.o src/view/fast_step.o: CFLAGS += $(CFLAGS_VECTORIZE) $(CFLAGS_UNROLL_LOOPS)

# Objects depend on the headers, and on the flags that they were built with.
$(OBJS): .build-flags $(wildcard src/*/*.h)

.build-flags: FORCE
	@echo '$(PG_CONFIG) $(BRAID_VERSION) $(FAILPOINTS)' | cmp -s - $@ || \
		echo '$(PG_CONFIG) $(BRAID_VERSION) $(FAILPOINTS)' > $@

braid--$(BRAID_VERSION).sql: $(SQL_PARTS) braid.control
	cat $(SQL_PARTS) > $@

ifdef WITH_KAFKA
all: kafka
install: install-kafka
kafka install-kafka:
	$(MAKE) -C kafka PG_CONFIG='$(PG_CONFIG)' $(if $(filter install%,$@),install)
.PHONY: kafka install-kafka
endif

FORCE:
.PHONY: FORCE

else

# Installs the packages that building and testing need.
setup:
	tools/setup

# Without a broker of Kafka its test is skipped.
check: setup
	-@timeout 300 tools/setup kafka
	tools/check

check-model:
	tools/setup spin
	tools/check-model

soak: setup
	tools/soak

fuzz:
	tools/fuzz

bench:
	tools/setup bench
	tools/bench

bench-nexmark: setup
	tools/bench test/bench/nexmark.pl

demo: setup
	demo/run

demo-saga: setup
	demo/run saga

kafka:
	tools/setup kafka-build
	$(MAKE) -C kafka

lint:
	tools/lint

format:
	clang-format -i src/*.c src/*/*.[ch] kafka/*.[ch] test/bench/*.c test/fuzz/*.c test/kafka/*.c

.PHONY: $(ALONE)

endif
