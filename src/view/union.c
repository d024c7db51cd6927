/*
 * union.c
 *	  UNION ALL of inputs with the same columns.
 */
#include "postgres.h"

#include "view/operators.h"
#include "view/text.h"

char *
braid_union_new(ViewNode *node)
{
	const char *columns = braid_text_list(braid_text_columns("x", node->ncolumns));
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->inputs)
		appendStringInfo(&s, "%sSELECT %s FROM %s x", s.len > 0 ? " UNION ALL " : "", columns,
						 braid_node_new(lfirst(lc)));
	return psprintf("(%s)", s.data);
}

char *
braid_union_delta(ViewNode *node)
{
	char *columns = braid_text_columns("x", node->ncolumns);
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->inputs)
		if (((ViewNode *) lfirst(lc))->changed)
			appendStringInfo(&s, "%sSELECT x.w%s FROM %s x", s.len > 0 ? " UNION ALL " : "",
							 columns, braid_node_delta(lfirst(lc)));
	return psprintf("(%s)", s.data);
}
