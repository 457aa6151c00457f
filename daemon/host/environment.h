/* SPDX-License-Identifier: MIT */
/* What programs that the daemon starts find in their environment. Never blocks; any thread, as long as none
 * changes the environment. */
#pragma once

/* Ours without what the service manager meant for this process alone: a loader's tool, a check or a reboot
 * command that found it could speak to the service manager in our name, or take our sockets for its own. The
 * list ends with NULL and is freed by the caller; its texts are the environment's own. */
char **environment_for_programs(void);
