/*
 * relay_server.h
 *	  Where a relay's source is, and as whom it is connected to.
 */
#ifndef BRAID_RELAY_SERVER_H
#define BRAID_RELAY_SERVER_H

#include "common/connection.h"
#include "topic/topic.h"

/* Raises an error unless the role may use the server, and it is one of PostgreSQL. */
extern void braid_relay_check_server(const char *server, Oid role);

/* Options of the server and of the role's user mapping, in the current context. */
extern BraidConnectionOptions braid_relay_connection_options(const char *server, Oid role);

/* The role that owns the topic, in whose name messages come in. */
extern Oid braid_relay_owner(const BraidTopic *topic);

#endif /* BRAID_RELAY_SERVER_H */
