/*
 * view.h
 *	  Continuous views.
 */
#ifndef BRAID_VIEW_H
#define BRAID_VIEW_H

extern void braid_view_init(void);

#endif /* BRAID_VIEW_H */
