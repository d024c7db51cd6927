/* producer.h: writing to Kafka, in transactions. */
#ifndef BRAID_KAFKA_PRODUCER_H
#define BRAID_KAFKA_PRODUCER_H

#include "session.h"

/*
 * Makes s->kafka.  The last transaction of the bridge has been ended then, one way or the other, and
 * from here on no other process can commit anything in its name.
 */
extern bool producer_open(Session *s);

extern bool producer_begin(Session *s);
extern bool producer_commit(Session *s);

/* Takes a message, as soon as there is room for it in the queue. */
extern bool producer_write(Session *s, const rd_kafka_vu_t *message, size_t n);

/* Waits until Kafka has what was written. */
extern bool producer_wait(Session *s);

/* An open transaction is aborted: it would keep readers waiting. */
extern void producer_close(Session *s);

#endif
