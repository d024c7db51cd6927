/*
 * snapshot_command.h
 *	  Commands and settings that ask for a snapshot over servers.
 */
#ifndef BRAID_XA_SNAPSHOT_COMMAND_H
#define BRAID_XA_SNAPSHOT_COMMAND_H

extern void braid_xa_snapshot_command_init(void);

#endif /* BRAID_XA_SNAPSHOT_COMMAND_H */
