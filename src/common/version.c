/*
 * version.c
 *	  The version of the loaded library, which braid.control alone defines.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#ifndef BRAID_VERSION
#error "BRAID_VERSION comes from the Makefile, which reads braid.control"
#endif

PG_FUNCTION_INFO_V1(braid_sql_version);

Datum
braid_sql_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(BRAID_VERSION));
}
