/*
 * position_segment.h
 *	  The segments that positions are written to in turn.
 */
#ifndef BRAID_POSITION_SEGMENT_H
#define BRAID_POSITION_SEGMENT_H

#define BRAID_POSITION_SEGMENTS 3

/* Tables braid_internal.positions_<segment>, and their indexes. */
extern Oid braid_position_segment(int segment);
extern Oid braid_position_index(int segment);

/* Where new positions go. */
extern int braid_position_current_segment(void);

#endif /* BRAID_POSITION_SEGMENT_H */
