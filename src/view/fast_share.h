/*
 * fast_share.h
 *	  Groups that several views make of the messages of one stream together.
 */
#ifndef BRAID_FAST_SHARE_H
#define BRAID_FAST_SHARE_H

#include "view/fast_path.h"

/*
 * The path, with all groups made, of the node and the scan of a path that has been selected, or
 * NULL: make them alone.  It has been done with when end is called for the node.
 */
extern FastPath *braid_fast_share_make(FastPath *path, Scan *scan);
extern void braid_fast_share_end(ViewNode *node);

#endif /* BRAID_FAST_SHARE_H */
