/*
 * tag.h
 *	  The comment at the end of a statement that says which transaction it is of.
 */
#ifndef BRAID_XA_TAG_H
#define BRAID_XA_TAG_H

#include "xa/gid.h"
#include "xa/origin.h"

typedef struct XaTag
{
	bool has_gid;	 /* else the branch is not enlisted by this */
	bool has_origin; /* else the transaction is not named by this */
	char gid[BRAID_GID_LEN];
	BraidGid parsed_gid;
	XaOrigin origin;
} XaTag;

/*
 * What a participant is to know of a branch, as text allocated in the current
 * context; gid is NULL if it is not to be enlisted.
 */
extern char *braid_xa_tag_format(const char *gid, const XaOrigin *origin);

/* The reverse; false if it is no such text.  A gid alone is one, too. */
extern bool braid_xa_tag_parse(const char *text, XaTag *tag);

/* The statement with the text as its tag, allocated in the current context. */
extern char *braid_xa_tag_append(const char *sql, const char *text);

/* The tag of a statement; false: it has none. */
extern bool braid_xa_tag_find(const char *sql, XaTag *tag);

#endif /* BRAID_XA_TAG_H */
