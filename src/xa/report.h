/*
 * report.h
 *	  What SQL can see of global transactions.
 */
#ifndef BRAID_XA_REPORT_H
#define BRAID_XA_REPORT_H

/* A text for a row; an empty one is null. */
extern Datum braid_xa_text_or_null(const char *s, bool *isnull);

#endif /* BRAID_XA_REPORT_H */
