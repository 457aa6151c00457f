/* SPDX-License-Identifier: MIT */
/* The log: what is shown, and that no text forges a second line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"

/* Standard error goes into a nameless file between the two. */
struct capture {
    int kept;
    int fd;
};

static struct capture capture_begin(void)
{
    struct capture capture = {.kept = dup(STDERR_FILENO),
                              .fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};

    assert_true(capture.kept >= 0 && capture.fd >= 0);
    assert_int_equal(dup2(capture.fd, STDERR_FILENO), STDERR_FILENO);
    return capture;
}

static void capture_end(struct capture *capture, char *ret_text, size_t size)
{
    fflush(stderr);
    assert_int_equal(dup2(capture->kept, STDERR_FILENO), STDERR_FILENO);
    ssize_t length = pread(capture->fd, ret_text, size - 1, 0);
    assert_true(length >= 0);
    ret_text[length] = 0;
    close(capture->fd);
    close(capture->kept);
}

static void test_levels(void **state)
{
    struct capture capture = capture_begin();
    char text[500];

    log_init(LOG_LEVEL_NOTICE, false);
    log_error("error %d", 1);
    log_info("not shown");
    log_notice("notice");
    log_init(LOG_LEVEL_DEBUG, true);
    log_warning("warning");
    log_debug("debug");
    capture_end(&capture, text, sizeof(text));
    assert_string_equal(text, "error 1\nnotice\n<4>warning\n<7>debug\n");
}

static void test_one_line_each(void **state)
{
    struct capture capture = capture_begin();
    char text[500];

    log_init(LOG_LEVEL_INFO, true);
    log_info("%s", "a\n<0>b\r\x1b[31m\x7f");
    capture_end(&capture, text, sizeof(text));
    assert_string_equal(text, "<6>a <0>b  [31m \n");
}

/* A pipe that nobody reads, and then somebody does. */
static void test_nobody_reads(void **state)
{
    int kept = dup(STDERR_FILENO), ends[2];
    static char text[1 << 20];
    unsigned logged = 0;

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    /* The program's own end waits, as it does where a shell or a service manager made it. */
    assert_true(fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) & ~O_NONBLOCK) == 0);
    int room = fcntl(ends[1], F_SETPIPE_SZ, 16 * 1024);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_init(LOG_LEVEL_INFO, true);
    for (; logged < 4u * (unsigned)room / 10; logged++)
        log_info("line %06u", logged);
    ssize_t first = read(ends[0], text, sizeof(text) - 1);
    assert_true(first > 0 && first <= room);
    text[first] = 0;
    assert_memory_equal(text, "<6>line 000000\n", 15);
    assert_int_equal(text[first - 1], '\n');
    unsigned taken = 0;
    for (const char *c = text; *c; c++)
        taken += *c == '\n';
    log_info("heard");
    ssize_t second = read(ends[0], text, sizeof(text) - 1);
    dup2(kept, STDERR_FILENO);
    assert_true(second > 0);
    text[second] = 0;
    char expected[200];
    snprintf(expected, sizeof(expected),
             "<4>%u lines before this one were not taken and are lost\n<6>heard\n", logged - taken);
    assert_string_equal(text, expected);
    close(kept);
    close(ends[0]);
    close(ends[1]);
}

static void test_no_secrets(void **state)
{
    struct capture capture = capture_begin();
    char text[500];

    log_init(LOG_LEVEL_INFO, false);
    log_info("installing %s into slot a", "http://user:s3cret@h/x?s3cret");
    capture_end(&capture, text, sizeof(text));
    assert_string_equal(text, "installing http://h/x?... into slot a\n");
}

static void test_long_lines_are_cut_and_errno_kept(void **state)
{
    struct capture capture = capture_begin();
    char text[5000], large[3000];

    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    log_init(LOG_LEVEL_INFO, false);
    errno = 77;
    log_info("%s", large);
    assert_int_equal(errno, 77);
    capture_end(&capture, text, sizeof(text));
    assert_in_range(strlen(text), 100, 2000);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_one_line_each),
        cmocka_unit_test(test_long_lines_are_cut_and_errno_kept),
        cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_no_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
