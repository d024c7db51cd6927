/*
 * participant.h
 *	  The participant's side: branches of transactions that others coordinate.
 */
#ifndef BRAID_XA_PARTICIPANT_H
#define BRAID_XA_PARTICIPANT_H

extern void braid_xa_participant_init(void);

#endif /* BRAID_XA_PARTICIPANT_H */
