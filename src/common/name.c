/*
 * name.c
 *	  Names of objects in SQL.
 */
#include "postgres.h"

#include "common/name.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

char *
braid_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}
