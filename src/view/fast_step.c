/*
 * fast_step.c
 *	  What is kept for each group of a delta, one pass over the rows for each.
 *
 * NOTES
 *	  The results are what accumulator.c's statements make of the same delta, for
 *	  rows that came (braid_accumulator_insertion) and for any (_change).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "view/fast_exact.h"
#include "view/fast_group.h"

/* Words of an extreme. */
#define CAME 0
#define WENT 1
#define SEEN 2 /* bits: SEEN_CAME, SEEN_WENT */
#define EXTREME_WORDS 3
#define SEEN_CAME 1
#define SEEN_WENT 2

#define MOST_WORDS (sizeof(FastExact) / sizeof(uint64)) /* of a step */

int
braid_fast_step_words(FastStepKind kind)
{
	switch (kind)
	{
		case FAST_ROW_COUNT:
		case FAST_WIDE_SUM:
			return 2;
		case FAST_RAW_COUNT:
		case FAST_COUNT:
		case FAST_SUM:
		case FAST_XOR:
			return 1;
		case FAST_EXACT:
		case FAST_PRODUCT:
			return sizeof(FastExact) / sizeof(uint64);
		case FAST_MIN:
		case FAST_MAX:
			return EXTREME_WORDS;
	}
	return 0;
}

/* ---------------------------------------------------------------- loops */

/*
 * For each row i with a value, word is the first word of its group and w its
 * weight.  Columns without nulls, and deltas that retract nothing, are what is
 * common.  If there is but one group its words can be in registers.
 */
#define FOR_EACH(body)                                                                             \
	do                                                                                             \
	{                                                                                              \
		uint64 *base = groups->words + step->word;                                                 \
		int nwords = groups->nwords;                                                               \
		const uint32 *found = groups->found;                                                       \
		bool *nulls = step->value && step->value->any_null ? step->value->nulls : NULL;            \
		const Datum *values = step->value ? step->value->values : NULL;                            \
		const Datum *weights = weight ? weight->values : NULL;                                     \
                                                                                                   \
		(void) values;                                                                             \
		if (nulls == NULL && weights == NULL && groups->nkeys == 0)                                \
		{                                                                                          \
			uint64 only[MOST_WORDS];                                                               \
			uint64 *word = only;                                                                   \
			const int64 w = 1;                                                                     \
                                                                                                   \
			(void) w;                                                                              \
			memcpy(only, base, sizeof(uint64) * braid_fast_step_words(step->kind));                \
			for (int i = 0; i < nrows; i++)                                                        \
				body;                                                                              \
			memcpy(base, only, sizeof(uint64) * braid_fast_step_words(step->kind));                \
		}                                                                                          \
		else if (nulls == NULL && weights == NULL)                                                 \
			for (int i = 0; i < nrows; i++)                                                        \
			{                                                                                      \
				uint64 *word = base + (Size) found[i] * nwords;                                    \
				const int64 w = 1;                                                                 \
                                                                                                   \
				(void) w;                                                                          \
				body;                                                                              \
			}                                                                                      \
		else                                                                                       \
			for (int i = 0; i < nrows; i++)                                                        \
			{                                                                                      \
				uint64 *word = base + (Size) found[i] * nwords;                                    \
				const int64 w = weights ? DatumGetInt64(weights[i]) : 1;                           \
                                                                                                   \
				(void) w;                                                                          \
				if (nulls == NULL || !nulls[i])                                                    \
					body;                                                                          \
			}                                                                                      \
	} while (0)

/* Small integers are kept in a Datum with their sign. */
static inline int64
integer(Datum value, int length)
{
	switch (length)
	{
		case 2:
			return DatumGetInt16(value);
		case 4:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/* Most of the time there are none. */
static void
count_nulls(FastStep *step, FastGroups *groups, FastColumn *weight, int nrows)
{
	for (int i = 0; i < nrows; i++)
		if (step->value->nulls[i])
			braid_fast_group(groups, groups->found[i])[step->word] +=
				weight ? DatumGetInt64(weight->values[i]) : 1;
}

static inline void
count_row(uint64 *word, int64 w)
{
	word[0] += w;
	word[1] |= w < 0;
}

/* A sum of 128 bits; x may be the least int8, whose negative is none. */
static inline void
add_wide(uint64 *word, int64 x, bool negate)
{
	uint64 low = (uint64) x;
	uint64 high = x < 0 ? PG_UINT64_MAX : 0;

	if (negate)
	{
		low = -low;
		high = ~high + (low == 0);
	}
	word[0] += low;
	word[1] += high + (word[0] < low);
}

static void
sum(FastStep *step, FastGroups *groups, FastColumn *weight, int nrows)
{
	if (step->value->length == 2)
		FOR_EACH({
			int64 x = DatumGetInt16(values[i]);
			word[0] += w < 0 ? -x : x;
		});
	else
		FOR_EACH({
			int64 x = DatumGetInt32(values[i]);
			word[0] += w < 0 ? -x : x;
		});
}

/* ---------------------------------------------------------------- extremes */

bool
braid_fast_has_extremes(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		default:
			return false;
	}
}

/* Whether the old value is before the new one; of equal ones the new one is taken, as PostgreSQL does. */
static inline bool
is_before(Oid type, bool is_max, uint64 old, uint64 new, int length)
{
	if (type == FLOAT4OID)
		return is_max ? float4_gt(DatumGetFloat4(old), DatumGetFloat4(new))
					  : float4_lt(DatumGetFloat4(old), DatumGetFloat4(new));
	if (type == FLOAT8OID)
		return is_max ? float8_gt(DatumGetFloat8(old), DatumGetFloat8(new))
					  : float8_lt(DatumGetFloat8(old), DatumGetFloat8(new));
	return is_max ? integer(old, length) > integer(new, length)
				  : integer(old, length) < integer(new, length);
}

static inline void
take_extreme(uint64 *word, FastStep *step, Datum value, int64 w)
{
	int bit = w > 0 ? SEEN_CAME : SEEN_WENT;
	uint64 *kept = &word[w > 0 ? CAME : WENT];

	if (!(word[SEEN] & bit) ||
		!is_before(step->value->type, step->kind == FAST_MAX, *kept, value, step->value->length))
		*kept = value;
	word[SEEN] |= bit;
}

/* Of integers that came. */
static void
take_integers(FastStep *step, FastGroups *groups, int nrows)
{
	FastColumn *weight = NULL;
	int64 flip =
		step->kind == FAST_MAX ? 0 : -1; /* the least one is that whose complement is greatest */

	FOR_EACH({
		int64 x = (int64) values[i];

		if (!word[SEEN] || (x ^ flip) > ((int64) word[CAME] ^ flip))
		{
			word[CAME] = (uint64) x;
			word[SEEN] = SEEN_CAME;
		}
	});
}

static void
take_extremes(FastStep *step, FastGroups *groups, FastColumn *weight, int nrows)
{
	Oid type = step->value->type;

	if (weight == NULL && type != FLOAT4OID && type != FLOAT8OID)
		take_integers(step, groups, nrows);
	else
		FOR_EACH(take_extreme(word, step, values[i], w));
}

/* ---------------------------------------------------------------- one step */

void
braid_fast_step(FastStep *step, FastGroups *groups, FastColumn *weight, int nrows)
{
	switch (step->kind)
	{
		case FAST_ROW_COUNT:
			FOR_EACH(count_row(word, w));
			break;
		case FAST_RAW_COUNT:
			weight = NULL;
			FOR_EACH(word[0] += w);
			break;
		case FAST_COUNT:
			if (step->value->any_null)
				count_nulls(step, groups, weight, nrows);
			break;
		case FAST_SUM:
			sum(step, groups, weight, nrows);
			break;
		case FAST_WIDE_SUM:
			FOR_EACH(add_wide(word, DatumGetInt64(values[i]), w < 0));
			break;
		case FAST_XOR:
			FOR_EACH(word[0] ^= integer(values[i], step->value->length));
			break;
		case FAST_EXACT:
			FOR_EACH(braid_fast_exact_add((FastExact *) word, DatumGetFloat8(values[i]), w < 0));
			break;
		case FAST_PRODUCT:
			FOR_EACH(if (!step->second->nulls[i]) braid_fast_exact_add_product(
				(FastExact *) word, DatumGetFloat8(values[i]),
				DatumGetFloat8(step->second->values[i]), w < 0));
			break;
		case FAST_MIN:
		case FAST_MAX:
			take_extremes(step, groups, weight, nrows);
			break;
	}
}

/* ---------------------------------------------------------------- combining */

static void
combine_extremes(FastStep *step, uint64 *word, const uint64 *other)
{
	if (other[SEEN] & SEEN_CAME)
		take_extreme(word, step, (Datum) other[CAME], 1);
	if (other[SEEN] & SEEN_WENT)
		take_extreme(word, step, (Datum) other[WENT], -1);
}

void
braid_fast_step_combine(FastStep *step, uint64 *group, const uint64 *other)
{
	uint64 *word = group + step->word;

	other += step->word;
	switch (step->kind)
	{
		case FAST_ROW_COUNT:
			word[0] += other[0];
			word[1] |= other[1];
			break;
		case FAST_RAW_COUNT:
		case FAST_COUNT:
		case FAST_SUM:
			word[0] += other[0];
			break;
		case FAST_WIDE_SUM:
			word[0] += other[0];
			word[1] += other[1] + (word[0] < other[0]);
			break;
		case FAST_XOR:
			word[0] ^= other[0];
			break;
		case FAST_EXACT:
		case FAST_PRODUCT:
			braid_fast_exact_combine((FastExact *) word, (const FastExact *) other);
			break;
		case FAST_MIN:
		case FAST_MAX:
			combine_extremes(step, word, other);
			break;
	}
}

/* ---------------------------------------------------------------- results */

/* high * 2^64 + low */
static Numeric
wide_numeric(uint64 low, uint64 high)
{
	Datum result;

	if (high == ((int64) low < 0 ? PG_UINT64_MAX : 0))
		return int64_to_numeric((int64) low);
	result = DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric((int64) high)),
								 NumericGetDatum(int64_to_numeric(INT64CONST(1) << 32)));
	result = DirectFunctionCall2(numeric_add, result,
								 NumericGetDatum(int64_to_numeric((int64) (low >> 32))));
	result = DirectFunctionCall2(numeric_mul, result,
								 NumericGetDatum(int64_to_numeric(INT64CONST(1) << 32)));
	return DatumGetNumeric(DirectFunctionCall2(
		numeric_add, result, NumericGetDatum(int64_to_numeric((int64) (low & 0xffffffff)))));
}

static Datum
xor_result(FastStep *step, uint64 word)
{
	switch (step->value->length)
	{
		case 2:
			return Int16GetDatum((int16) word);
		case 4:
			return Int32GetDatum((int32) word);
		default:
			return Int64GetDatum((int64) word);
	}
}

int
braid_fast_step_result(FastStep *step, uint64 *group, Datum *values, bool *nulls)
{
	uint64 *word = group + step->word;

	nulls[0] = nulls[1] = false;
	switch (step->kind)
	{
		case FAST_ROW_COUNT:
			values[0] = Int64GetDatum((int64) word[0]);
			values[1] = BoolGetDatum(word[1] != 0);
			return 2;
		case FAST_COUNT:
			values[0] = Int64GetDatum((int64) (group[step->rows_word] - word[0]));
			return 1;
		case FAST_RAW_COUNT:
		case FAST_SUM:
			values[0] = Int64GetDatum((int64) word[0]);
			return 1;
		case FAST_WIDE_SUM:
			values[0] = NumericGetDatum(wide_numeric(word[0], word[1]));
			return 1;
		case FAST_XOR:
			values[0] = xor_result(step, word[0]);
			return 1;
		case FAST_EXACT:
		case FAST_PRODUCT:
			values[0] = NumericGetDatum(braid_fast_exact_result((FastExact *) word));
			return 1;
		case FAST_MIN:
		case FAST_MAX:
			values[0] = (Datum) word[CAME];
			values[1] = (Datum) word[WENT];
			nulls[0] = !(word[SEEN] & SEEN_CAME);
			nulls[1] = !(word[SEEN] & SEEN_WENT);
			return 2;
	}
	return 0;
}
