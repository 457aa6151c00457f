/* SPDX-License-Identifier: MIT */
/* The socket of the API as a file (daemon/face/api_socket.c), and who may do what over it
 * (daemon/face/api_peer.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/face/api_socket.h"
#include "tests/unit/api_bench.h"

/* Authority */

static const char *ask_as(uid_t uid, gid_t gid, gid_t supplementary, const char *request, char *ret_text,
                          size_t size)
{
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setgroups(1, &supplementary) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
            _exit(1);
        int fd = connect_client();
        say(fd, request);
        const char *text = hear_reply(fd);
        _exit(write(pipes[1], text, strlen(text)) < 0);
    }
    close(pipes[1]);
    ssize_t count = read(pipes[0], ret_text, size - 1);
    close(pipes[0]);
    waitpid(child, NULL, 0);
    ret_text[count > 0 ? count : 0] = '\0';
    return ret_text;
}

static void test_authority(void **state)
{
    char text[4096];

    if (geteuid() != 0) {
        print_message("skipped: only root can connect as somebody else\n");
        skip();
    }
    /* Opened to everybody, as a local administrator may do: then everybody may read, and only read. */
    assert_int_equal(chmod(api_bench_path, 0666), 0);
    assert_begins(ask_as(65534, 65534, 65534, GET_STATUS, text, sizeof(text)), "HTTP/1.1 200 ");
    assert_begins(ask_as(65534, 65534, 65534, POST_CHECK, text, sizeof(text)), "HTTP/1.1 403 ");
    assert_contains(text, "\"code\":\"forbidden\"");
    assert_begins(ask_as(65534, 65534, MEMBER_GID, POST_CHECK, text, sizeof(text)), "HTTP/1.1 202 ");
    assert_begins(ask_as(65534, MEMBER_GID, 65534, POST_CHECK, text, sizeof(text)), "HTTP/1.1 202 ");
}

/* The socket as a file */

static void test_socket_mode_and_group(void **state)
{
    struct stat info;

    assert_int_equal(lstat(api_bench_path, &info), 0);
    assert_int_equal(info.st_mode, S_IFSOCK | 0660);
    if (geteuid() == 0)
        assert_int_equal(info.st_gid, MEMBER_GID);
}

static void test_socket_taken(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket other;
    struct error error;

    assert_false(api_socket_open(&other, api_bench_path, &group, &error));
    assert_contains(error.message, "another moonsinterd listens at");
    assert_served();
}

static void test_socket_stale(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket first, second;
    struct error error;
    struct stat info;
    char nested[128];

    snprintf(nested, sizeof(nested), "%s/made/folder/s", api_bench_folder);
    mode_t old_mask = umask(0777);
    umask(old_mask);
    assert_true(api_socket_open(&first, nested, &group, &error));
    close(first.fd);
    first.fd = -1;
    assert_true(api_socket_open(&second, nested, &group, &error));
    /* The first no longer owns the api_bench_path, so its end leaves the second's socket alone. */
    api_socket_close(&first);
    assert_int_equal(lstat(nested, &info), 0);
    api_socket_close(&second);
    assert_int_equal(lstat(nested, &info), -1);
    api_socket_close(&second);
}

static void test_socket_path_refused(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket socket;
    struct error error;
    struct stat info;
    char text[200];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_contains(error.message, "199 bytes long");
    assert_false(api_socket_open(&socket, "", &group, &error));

    snprintf(text, sizeof(text), "%s/file", api_bench_folder);
    close(open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_contains(error.message, "is not a socket");
    assert_int_equal(lstat(text, &info), 0);
    snprintf(text, sizeof(text), "%s/file/s", api_bench_folder);
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_false(api_socket_open(&socket, api_bench_folder, &group, &error));
    assert_contains(error.message, "is not a socket");
}

static void test_socket_adopted(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket opened, adopted;
    struct error error;
    struct stat info;
    char text[128];
    int pair[2];

    snprintf(text, sizeof(text), "%s/adopted", api_bench_folder);
    assert_true(api_socket_open(&opened, text, &group, &error));
    /* As a service manager hands it over. */
    assert_int_equal(fcntl(opened.fd, F_SETFL, 0), 0);
    assert_int_equal(fcntl(opened.fd, F_SETFD, 0), 0);
    assert_true(api_socket_adopt(&adopted, opened.fd, &error));
    assert_true(fcntl(adopted.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(adopted.fd, F_GETFD) & FD_CLOEXEC);
    api_socket_close(&adopted);
    assert_int_equal(lstat(text, &info), 0);
    opened.fd = -1;
    api_socket_close(&opened);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_false(api_socket_adopt(&adopted, pair[0], &error));
    assert_contains(error.message, "socket activation");
    close(pair[0]);
    close(pair[1]);
    int datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_false(api_socket_adopt(&adopted, datagrams, &error));
    assert_contains(error.message, "no listening Unix stream socket");
    close(datagrams);
    assert_false(api_socket_adopt(&adopted, 999, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(test_authority),
        with_server(test_socket_mode_and_group),
        with_server(test_socket_taken),
        cmocka_unit_test(test_socket_stale),
        cmocka_unit_test(test_socket_path_refused),
        cmocka_unit_test(test_socket_adopted),
    };
    return cmocka_run_group_tests(tests, api_bench_make_folder, api_bench_remove_folder);
}
