/*
 * feed_send.h
 *	  From rows to the messages of a feed.
 */
#ifndef BRAID_FEED_SEND_H
#define BRAID_FEED_SEND_H

#include "view/feed.h"

/*
 * Runs a SELECT and sends what its rows say.  Its columns are: w int8, how often the row came
 * or, negative, went; tie text; key text; "row" text, a JSON object.  It is ordered by tie and w:
 * what went and what came under one tie is an update, if the key is the same.  Further
 * columns lsn text and gid text, or none: then lsn is that of the cycle.
 */
extern void braid_feed_send_changes(Feed *feed, const char *sql, int64 nrows);

/* The same for rows that all come, after a message to each partition that what was there is gone. */
extern void braid_feed_send_all(Feed *feed, const char *op, const char *sql, int64 nrows);

/* "(SELECT to_jsonb(r.*) FROM (SELECT d.c1 AS a, ...) r)::text"; columns is what stands in the parentheses. */
extern char *braid_feed_row_text(const char *columns);

#endif /* BRAID_FEED_SEND_H */
