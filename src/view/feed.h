/*
 * feed.h
 *	  Changefeeds: what changes in a view or table goes to a topic.
 */
#ifndef BRAID_FEED_H
#define BRAID_FEED_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

struct KeptView;

/* Of a view or a table, in the worker. */
typedef struct Feed
{
	Oid relation;
	Oid owner;
	Oid topic;	  /* its view */
	char *name;	  /* of the relation, as messages have it */
	List *key;	  /* char *: the columns that were given as the key; NIL: none */
	char *begun;  /* the shape of its messages since it began; NULL: it has not */
	char *shape;  /* what it is now */
	int requests; /* to begin, that it answers */
	bool is_sent; /* in this cycle a snapshot was: it begins */
	bool is_held; /* that it cannot be sent to has been said */

	/* Of a view: expressions over d.c1, ...; key_text is NULL if a row is its own key. */
	char *row_text;
	char *key_text;

	/* Of a table. */
	bool is_of_table;
	bool has_stopped;
	struct HTAB *plans; /* see run.h */
} Feed;

/* ---- users' commands: feed_define.c */

/*
 * Gives the relation a feed, or another one, to the topic of this name; key is a list of
 * columns, as text, or NULL.  Changes only what is given if it has one.  The caller has seen to
 * it that the user owns the relation.  Raises errors, of a topic that will not do.
 */
extern void braid_feed_set(Oid relation, const char *topic, const char *key);

/* Ends it, or with key_only lets its key be what it is by itself. */
extern void braid_feed_reset(Oid relation, bool key_only);

/* A column was renamed. */
extern void braid_feed_follow_column(Oid relation, const char *old, const char *new);

/* The options of ALTER ... SET and RESET; those that are of a feed. */
extern bool braid_feed_is_option(const char *name);

/* ", braid.feed = 'topic'" for a statement that makes the view anew; or nothing. */
extern char *braid_feed_clause(Oid relation);

/* braid_internal.feeds; InvalidOid if it is not there. */
extern Oid braid_feed_catalog(void);

extern void braid_feed_init(void);

/* ---- the worker: feed_load.c */

/* Before views are loaded: reads what feeds there are, into the current context. */
extern void braid_feed_load(void);
extern void braid_feed_unload(void);		/* before that context is reset */
extern List *braid_feed_list(void);			/* Feed */
extern Feed *braid_feed_find(Oid relation); /* NULL if it has none */

/* Before that, in the capture worker: forgets what was sent of feeds that have ended. */
extern void braid_feed_begin_load(void);

/* Locks, without waiting, what is sent to, and looks whether that is allowed. */
extern bool braid_feed_lock(Feed *feed);

/* After what was sent has not been rolled back: stores that it has begun.  As superuser, in SPI. */
extern void braid_feed_store(Feed *feed);

/* Somebody else may have stored it: the process that has populated the view. */
extern void braid_feed_look_again(Feed *feed);

/* An error that the table's feed is to blame for: it sends nothing more. */
extern void braid_feed_stop(Feed *feed, const char *error);

/* The view shows something else from now on: its feed begins anew. */
extern void braid_feed_forget(Oid relation);

/* ---- of views, as their owner: feed_view.c */

/* Once the view has its plan. */
extern void braid_feed_view_prepare(struct KeptView *view);

/* Whether a snapshot is to be sent. */
extern bool braid_feed_view_begins(struct KeptView *view);

/* Before the view is followed, or populated, and after it. */
extern void braid_feed_view_before(struct KeptView *view, bool populates);
extern void braid_feed_view_after(struct KeptView *view, bool populates);

/* ---- of tables: feed_table.c */

/* Raises an error unless the table can have one, and sees to it that whole rows are logged. */
extern void braid_feed_table_claim(Oid table);

/* From load, when all views are loaded: wants the tables; in the context of the feeds. */
extern bool braid_feed_tables_load(void);
extern void braid_feed_tables_unload(void);

/* The consumer's: see capture.h. */
extern bool braid_feed_table_lock(Oid table);
extern bool braid_feed_tables_have_work(void);
extern void braid_feed_tables_apply(void);

#endif /* BRAID_FEED_H */
