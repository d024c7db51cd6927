/*
 * seal.c
 *	  What proves that a message was written by a stream.
 *
 * NOTES
 *	  A seal is SipHash-2-4 (Aumasson and Bernstein, 2012) of the transaction's id, the message's
 *	  length and its first bytes, under a secret of the database.  Who cannot read the log cannot see
 *	  a seal, and one that was seen in an earlier transaction is no good in a later one.  The rest of the message
 *	  does not go into it: to guard against accidents is the matter of the log's own
 *	  checksums, and against those who read the log of their running transaction nothing helps
 *	  that reads the secret from the same place as they could.
 *
 *	  The secret is in a table, so that it is known after a crash, on a server that was promoted, and after
 *	  pg_upgrade; a dump does not have it, nor would a database that is restored have messages.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "stream/pack.h"
#include "stream/seal.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Of the beginning of a message: version, rows and stream are in it. */
#define SEALED_BYTES 16

typedef struct Secret
{
	uint64 halves[2];
} Secret;

static Oid secret_table = InvalidOid; /* InvalidOid: the secret is not known */
static Secret secret;

static void
note_invalidation(Datum arg, Oid relid)
{
	if (relid == secret_table || !OidIsValid(relid))
		secret_table = InvalidOid;
}

/* False: the extension was dropped, perhaps by this very transaction. */
static bool
read_secret(void)
{
	static bool is_registered = false;
	Oid relid = get_relname_relid("seals", get_namespace_oid("braid_internal", true));
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	bytea *key;
	bool isnull;

	if (!is_registered)
		CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	is_registered = true;

	if (!OidIsValid(relid))
		return false;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" is empty", "braid_internal.seals"),
						errhint("Drop the extension braid and create it again.")));
	key = DatumGetByteaPP(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));
	memcpy(&secret, VARDATA_ANY(key), sizeof(secret));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	secret_table = relid;
	return true;
}

static inline uint64
rotate(uint64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static pg_attribute_always_inline void
mix(uint64 v[4], int rounds)
{
	while (rounds-- > 0)
	{
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

/* SipHash-2-4 of whole words, without the last one that says their length, which never varies. */
static uint64
keyed_hash(const uint64 *words, int nwords)
{
	uint64 v[4] = {secret.halves[0] ^ UINT64CONST(0x736f6d6570736575),
				   secret.halves[1] ^ UINT64CONST(0x646f72616e646f6d),
				   secret.halves[0] ^ UINT64CONST(0x6c7967656e657261),
				   secret.halves[1] ^ UINT64CONST(0x7465646279746573)};

	for (int i = 0; i < nwords; i++)
	{
		v[3] ^= words[i];
		mix(v, 2);
		v[0] ^= words[i];
	}
	v[2] ^= 0xFF;
	mix(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* False: there is no secret to make one with. */
static bool
make_seal(const char *message, Size size, TransactionId xid, uint64 *seal)
{
	uint64 words[4] = {xid, size};

	StaticAssertStmt(SEALED_BYTES == 2 * sizeof(uint64), "the other words");
	if (!OidIsValid(secret_table) && !read_secret())
		return false;
	memcpy(&words[2], message + BRAID_SEAL_SIZE, Min(SEALED_BYTES, size - BRAID_SEAL_SIZE));
	*seal = keyed_hash(words, lengthof(words));
	return true;
}

void
braid_seal_put(char *message, Size size, TransactionId xid)
{
	uint64 seal;

	Assert(size > BRAID_SEAL_SIZE && TransactionIdIsValid(xid));
	if (make_seal(message, size, xid, &seal))
		memcpy(message, &seal, BRAID_SEAL_SIZE);
}

bool
braid_seal_is_right(const char *message, Size size, TransactionId xid)
{
	uint64 seal;

	return size > BRAID_SEAL_SIZE && make_seal(message, size, xid, &seal) &&
		   memcmp(message, &seal, BRAID_SEAL_SIZE) == 0;
}
