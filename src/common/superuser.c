/*
 * superuser.c
 *	  Commands on braid's own objects, which users' commands make necessary.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"

void
braid_superuser_execute(const char *sql)
{
	Oid userid;
	int sec_context;
	int rc;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute returned %s for \"%s\"", SPI_result_code_string(rc), sql);
	SetUserIdAndSecContext(userid, sec_context);
}
