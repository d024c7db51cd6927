/*
 * work_entry.h
 *	  A message in the window of a group of mode work, and its state.
 */
#ifndef BRAID_WORK_ENTRY_H
#define BRAID_WORK_ENTRY_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"

/*
 *	FREE ──load──► READY ──take──► TAKEN ──commit──► gone, or back as another attempt
 *	  │             ▲ │ ▲            │
 *	  │ load        │ │ └──rollback──┤ (to what it was before)
 *	  ▼             │ ▼              │
 *	DELAYED ──time──┤ BLOCKED        ▼ take for some time, when it has committed
 *	                └──time──────── HELD ──acknowledge, reject──► TAKEN
 */
typedef enum WorkState
{
	WORK_FREE,
	WORK_READY,
	WORK_BLOCKED, /* ready, but another one of its key is taken or held */
	WORK_DELAYED, /* until its time */
	WORK_HELD,	  /* by whoever has taken it, until its time */
	WORK_TAKEN,	  /* by a transaction: its end decides */
	WORK_DONE	  /* waits for the end of a scan that might still find it */
} WorkState;

typedef enum WorkFailure
{
	WORK_NO_FAILURE,
	WORK_ROLLED_BACK,
	WORK_TIMED_OUT
} WorkFailure;

#define WORK_IS_DONE (-1) /* as the number that it goes on with */
#define WORK_CARRIED (-1) /* as a segment: in braid_internal.work_carried_<n> */

typedef struct WorkEntry
{
	int64 id;		   /* of the message; what users know */
	int64 number;	   /* of this version of it: the id, or one of its own if it was carried */
	int64 next_number; /* it goes on as that one if the transaction commits; 0: it is done */
	TimestampTz next_due;
	TimestampTz time;  /* DELAYED, HELD: until when */
	TransactionId xid; /* TAKEN: of a prepared transaction, or invalid */
	uint32 key;		   /* hash of the key; 0: it has none */
	ItemPointerData tid;
	int16 segment; /* of the topic, with tid; or WORK_CARRIED */
	int16 priority;
	uint16 attempts; /* with the one that goes on */
	uint8 state;
	uint8 before;	 /* TAKEN: what it is again if the transaction is rolled back */
	uint8 failure;	 /* of the last attempt */
	bool is_hold;	 /* TAKEN: becomes HELD if the transaction commits */
	bool is_unknown; /* TAKEN: before the window was built */
	int heap;		 /* place in the heap of READY, or of DELAYED and HELD */
	int id_next;	 /* of the same bucket; FREE: the next free one */
	int key_next;
} WorkEntry;

#endif /* BRAID_WORK_ENTRY_H */
