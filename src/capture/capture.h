#ifndef BRAID_CAPTURE_H
#define BRAID_CAPTURE_H
extern void braid_capture_init(void);
#endif
