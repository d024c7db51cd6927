/*
 * member.h
 *	  Members of consumer groups, among whom partitions are divided.
 */
#ifndef BRAID_MEMBER_H
#define BRAID_MEMBER_H

#include "datatype/timestamp.h"

/* What a member knows when it has shown up. */
typedef struct BraidMembership
{
	int64 generation;  /* grows when members come and go */
	TimestampTz since; /* when the generation began */
	int timeout_ms;	   /* it is given up if it does not show up for so long */
	int rank;		   /* among so many members, from 0 */
	int nmembers;
} BraidMembership;

/*
 * The member is alive; those that are not are found out.  Raises 55000 if it does not belong to
 * the group, or no more, and 42501 if it is another role's.
 */
extern void braid_member_show_up(int64 member, int group, BraidMembership *membership);

/* Whether the partition is the member's. */
extern bool braid_member_owns(const BraidMembership *membership, int part);

/* Whether it still belongs to its group, showing up or not. */
extern bool braid_member_is_alive(int64 member);

extern bool braid_member_any(int group);

extern void braid_member_init(void);

#endif /* BRAID_MEMBER_H */
