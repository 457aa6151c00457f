/* SPDX-License-Identifier: MIT */
/* Who makes room on a full server: equal shares for users, root first, and who reads gets his answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/face/api_room.h"
#include "daemon/face/api_server_client.h"

enum { ROOT = 0, ALICE = 1000, BOB = 1001, NOBODY = 65534, CLIENTS_MAX = 16 };

static struct api_client clients[CLIENTS_MAX];

/* One letter a client, from the one that waits longest on: r = root, a = Alice, b = Bob; upper case where a
 * reply is on its way. A star after it makes it a stream, a dot lets it linger. */
static void make(struct api_client_set *set, const char *letters)
{
    unsigned count = 0;

    memset(clients, 0, sizeof(clients));
    TAILQ_INIT(&set->open);
    for (; *letters; letters++) {
        if (*letters == '*' || *letters == '.') {
            clients[count - 1].state = *letters == '*' ? API_CLIENT_STREAMING : API_CLIENT_LINGERING;
            continue;
        }
        assert_true(count < CLIENTS_MAX);
        clients[count] = (struct api_client){
            .uid = strchr("rR", *letters)   ? ROOT
                   : strchr("aA", *letters) ? ALICE
                                            : BOB,
            .state = *letters < 'a' ? API_CLIENT_REPLYING : API_CLIENT_READING,
        };
        TAILQ_INSERT_TAIL(&set->open, &clients[count], link);
        count++;
    }
}

/* The victim's number, or -1. */
static int number_of(const struct api_client *victim)
{
    return victim ? (int)(victim - clients) : -1;
}

static void expect(const char *letters, uid_t newcomer, int victim)
{
    struct api_client_set set;

    make(&set, letters);
    int found = number_of(api_room_find(&set, newcomer));
    if (found != victim)
        fail_msg("%s makes room for %u by %d, not by %d", letters, (unsigned)newcomer, found, victim);
}

static void expect_stream(const char *letters, uid_t newcomer, int victim)
{
    struct api_client_set set;

    make(&set, letters);
    int found = number_of(api_room_find_stream(&set, newcomer));
    if (found != victim)
        fail_msg("%s makes room for a stream of %u by %d, not by %d", letters, (unsigned)newcomer, found,
                 victim);
}

static void test_one_user(void **state)
{
    /* Who waits goes first, then whose reply is on its way for longest; never a stream. */
    expect("aaaa", ALICE, 0);
    expect("AAaA", ALICE, 2);
    expect("AAa.a", ALICE, 2);
    expect("a*AAA", ALICE, 1);
    expect("a*a*", ALICE, -1);
}

static void test_equal_shares(void **state)
{
    expect("bAAA", BOB, 1);
    expect("bAAA", NOBODY, 1);
    expect("BaAAB", NOBODY, 1);
    /* With as many as he has himself it is his own that goes. */
    expect("aabb", BOB, 2);
    expect("aaBB", BOB, 2);
    /* Who has nothing to give, and no less than the others, waits. */
    expect("ab*", BOB, -1);
    /* Root is a user like others where he holds the most. */
    expect("rrRa", ALICE, 0);
    expect("rrra", ROOT, 0);
}

static void test_root_always_has_room(void **state)
{
    expect("ArB", ROOT, 1);
    expect("AR*B", ROOT, 0);
    expect("AR*R*R*", ROOT, 0);
    expect("a*AAA", ROOT, 1);
}

static void test_streams(void **state)
{
    expect_stream("a*a*a*", BOB, 0);
    expect_stream("b*a*a*aa", BOB, 1);
    expect_stream("a*b*b*", ROOT, 1);
    expect_stream("a*b*", ROOT, 0);
    /* One's own are not given up, nor those of who has no more. */
    expect_stream("a*a*a*", ALICE, -1);
    expect_stream("a*b*", BOB, -1);
    expect_stream("r*r*", ROOT, -1);
    /* Only streams count. */
    expect_stream("a*b*aaaa", BOB, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_user),
        cmocka_unit_test(test_equal_shares),
        cmocka_unit_test(test_root_always_has_room),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
