/* step.h: places where tests end or stop the program. */
#ifndef BRAID_KAFKA_STEP_H
#define BRAID_KAFKA_STEP_H

#ifdef BRAID_FAILPOINTS
/* The environment's BRAID_KAFKA_STEP is "name:n:kill" or "name:n:stop": what happens when the nth passes here. */
extern void step(const char *name);
#else
#define step(name) ((void) 0)
#endif

#endif
