/*
 * keeper.h
 *	  The worker's side of continuous views: the consumer of capture.
 */
#ifndef BRAID_KEEPER_H
#define BRAID_KEEPER_H

#include "capture/capture.h"
#include "executor/spi.h"
#include "storage/block.h"
#include "view/definition.h"
#include "view/plan.h"
#include "view/view.h"

/* What a view's visible rows did in the running cycle, for those that read it. */
typedef struct ViewDelta
{
	Tuplestorestate *rows; /* w, c1, ...; NULL if there are none */
	int memory;			   /* that they may take, kB */
	TupleDesc desc;
	bool retracts;
} ViewDelta;

/* What was done for a view in the running cycle, for its statistics. */
typedef struct ViewWork
{
	bool done;		 /* it was followed, or populated */
	bool is_live;	 /* it was live before */
	bool is_rebuild; /* it was populated, and not for the first time */
	int64 rows;		 /* of the deltas that were merged */
	uint64 us;		 /* that it took */
} ViewWork;

typedef struct KeptView
{
	ViewDefinition def;
	Oid owner;
	ViewState state;
	ViewState stored; /* when it was loaded, as readers know it */
	int rebuilds;	  /* requests that the next populate answers */
	int nsettings;
	char **settings;	 /* name and value in turn */
	char *fingerprint;	 /* of the plan that has made the state; NULL if none has */
	char *made_for;		 /* the fingerprint when the view was made, or altered */
	char *made_from;	 /* if not NULL: when the states were */
	bool is_replacement; /* of another view, see exchange.c */
	bool is_outdated;	 /* something below has changed: it waits for a replacement */

	ViewPlan *plan;				 /* NULL while broken or incomplete */
	List *tables;				 /* oids of captured tables below, also by way of other views */
	List *states;				 /* oids of the state tables */
	bool is_read;				 /* by another view that is kept */
	bool is_hurried;			 /* it reads a stream, or one that does reads it */
	bool was_restored;			 /* new here, it has rows of streams from a dump */
	Bitmapset *read;			 /* numbers of the nodes whose deltas are read */
	struct Feed *feed;			 /* to which its changes go; NULL if it has none */
	struct HTAB *plans;			 /* of statements, see run.h */
	int64 schedule_ms;			 /* 0: kept up to date; else recomputed as a whole, this often */
	bool stale;					 /* of one with a schedule: something may be new */
	TimestampTz due;			 /* of one with a schedule: not before */
	int merges;					 /* requests to merge rows that were put aside, */
	int merged;					 /* and how many have been answered */
	bool ordered;				 /* has found its place among the others */
	struct NodeFigures *figures; /* of the plan's nodes, see explain.h */
	BlockNumber *sizes;			 /* of what it reads, when plans were made; see growth.c */
	TimestampTz sized;			 /* when they were last looked at */
	struct ViewStat *stat;		 /* see statistics.c; NULL if there was no room */

	/* Of the running cycle. */
	bool waits;		  /* it is populated beside, or reads a view that is not live */
	bool catches_up;  /* it was populated beside: its deltas are those set aside */
	bool has_merged;  /* rows that were put aside */
	bool repopulated; /* its readers have to be populated too */
	ViewDelta delta;
	ViewWork work;
} KeptView;

/* The state of this name, as it is stored; NULL is that of a new view. */
extern ViewState braid_keeper_parse_state(const char *name);

/* The view with this id, NULL if there is none. */
extern KeptView *braid_keeper_find(int id);

/*
 * In a process that is not the capture worker, in a transaction and SPI: loads
 * one view, with its plan.  NULL if it has gone.
 */
extern KeptView *braid_keeper_load_one(int id);

/* Within a cycle, after all views were brought up: whether the view is at S. */
extern bool braid_keeper_is_at_snapshot(KeptView *view);

extern void braid_keeper_init(void);

#endif /* BRAID_KEEPER_H */
