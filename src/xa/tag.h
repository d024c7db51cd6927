/*
 * tag.h
 *	  The comment at the end of a statement that enlists a branch.
 */
#ifndef BRAID_XA_TAG_H
#define BRAID_XA_TAG_H

/* The statement with the tag for this gid, allocated in the current context. */
extern char *braid_xa_tag_append(const char *sql, const char *gid);

/* The gid in the tag of a statement, into a buffer of BRAID_GID_LEN; false: none. */
extern bool braid_xa_tag_find(const char *sql, char *gid);

#endif /* BRAID_XA_TAG_H */
