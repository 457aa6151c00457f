/* SPDX-License-Identifier: MIT */
/*
 * Runs the API's server with small limits and a fake backend in a child process, whose exit status tells what
 * a sanitizer finds, and has clients for it. One server at a time, in a temporary folder.
 */
#pragma once

#include <stddef.h>

enum {
    MAX_CLIENTS = 6,
    MAX_STREAMS = 3,
    MAX_HEAD = 1024,
    MAX_BODY = 4096,
    MAX_UNREAD = 32 << 10,
    /* How long a request may take: long enough for a busy machine, and short for tests of that limit. */
    PATIENT_MS = 60 * 1000,
    TIMEOUT_MS = 1000,
    MEMBER_GID = 4242, /* of the group that may change things */
};

#define GET_STATUS   "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_EVENTS   "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_LARGE    "GET /v1/history HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_CHECK   "POST /v1/check HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_INSTALL "POST /v1/install HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
#define POST_REBOOT  "POST /v1/reboot HTTP/1.1\r\nHost: x\r\n\r\n"

extern char api_bench_folder[64];
extern char api_bench_path[96]; /* of the socket in it */

/* Setup and teardown of a group of tests. */
int api_bench_make_folder(void **state);
int api_bench_remove_folder(void **state);

/* Setup and teardown of one test. The fake daemon reports a change at "check" and a hundred large ones at
 * "install", has nothing to cancel, and ends at "reboot". */
int api_bench_start(void **state);
int api_bench_start_impatient(void **state); /* with TIMEOUT_MS */
int api_bench_stop(void **state);

#define with_server(test) cmocka_unit_test_setup_teardown(test, api_bench_start, api_bench_stop)
#define with_impatient_server(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, api_bench_start_impatient, api_bench_stop)

/* Connects a client, whose reads fail after a while: a server that hangs fails the test. */
int connect_client(void);

/* Sends all of `text`. */
void say(int fd, const char *text);

/* Reads until `end` has come (NULL = until the server closes) into a static buffer. */
const char *hear(int fd, const char *end);

/* Reads one reply, head and body, into a static buffer. */
const char *hear_reply(int fd);

void assert_begins(const char *text, const char *beginning);
void assert_contains(const char *text, const char *part);

/* Fails unless the server answers a new client. */
void assert_served(void);
