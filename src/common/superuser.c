/*
 * superuser.c
 *	  Commands on braid's own objects, which users' commands make necessary.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"

void
braid_superuser_execute(const char *sql)
{
	braid_superuser_execute_with_args(sql, 0, NULL, NULL, NULL);
}

void
braid_superuser_execute_with_args(const char *sql, int nargs, Oid *types, Datum *values,
								  const char *nulls)
{
	Oid userid;
	int sec_context;
	int rc;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	rc = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args returned %s for \"%s\"", SPI_result_code_string(rc),
			 sql);
	SetUserIdAndSecContext(userid, sec_context);
}

Datum
braid_superuser_ask(const char *sql, bool *isnull)
{
	int level = braid_superuser_fix_search_path();
	Datum value = (Datum) 0;

	SPI_connect();
	braid_superuser_execute(sql);
	AtEOXact_GUC(false, level);
	*isnull = true;
	if (SPI_tuptable && SPI_processed > 0)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	SPI_finish();
	return value;
}

int
braid_superuser_fix_search_path(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}
