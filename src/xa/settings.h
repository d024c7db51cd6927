/*
 * settings.h
 *	  Configuration parameters of the transaction half.
 */
#ifndef BRAID_XA_SETTINGS_H
#define BRAID_XA_SETTINGS_H

extern int braid_xa_ready_timeout; /* ms */
extern bool braid_xa_commit_wait;
extern int braid_xa_finish_timeout;	   /* ms */
extern int braid_xa_recovery_interval; /* ms */
extern int braid_xa_resolver_connections;
extern int braid_xa_max_servers;
extern bool braid_xa_resolver;
extern bool braid_xa_deadlock_detection;

extern char *braid_default_snapshot;
extern int braid_snapshot_timeout; /* ms */

/* Kind of the resolver among the background workers; see common/worker.h. */
extern int braid_xa_resolver_kind;

/* The protocol between coordinators and participants; changes with its meaning. */
#define BRAID_XA_PROTOCOL "3"

/* Role as which a resolver connects to a participant. */
#define BRAID_XA_RESOLVER_ROLE "braid_resolver"

/* Its application_name there, which tells it from others; with the coordinator's identity. */
#define BRAID_XA_RESOLVER_NAME "braid resolver %016llx"

/* Role whose members may finish branches by hand. */
#define BRAID_XA_OPERATOR_ROLE "braid_operator"

#endif /* BRAID_XA_SETTINGS_H */
