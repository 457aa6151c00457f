/* SPDX-License-Identifier: MIT */
/* The environment of programs that the daemon starts. Never blocks; any thread, as long as none changes the
 * environment. */
#pragma once

/* The daemon's environment without what the service manager meant for the daemon alone: with that, a loader's
 * tool, a check or a reboot command could speak to the service manager in the daemon's name, or take its
 * sockets. The list ends with NULL and is freed by the caller; its strings are the environment's own. */
char **environment_for_programs(void);
