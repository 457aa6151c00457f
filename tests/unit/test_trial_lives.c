/* SPDX-License-Identifier: MIT */
/* Lives of machines, thousands a second: what becomes of a release by each kind of loader when power cuts,
 * kills, reboots, failing writes and an operator's orders strike at any moment. The rules are said once, in
 * check_end(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "trial_life.h"

enum { MOMENTS_MAX = 60, RANDOM_LIVES = 400 };

static const unsigned tries_tried[] = {1, 3};

static size_t lives;

/* One more try is armed where the loader has but one. */
static unsigned tries_of(const struct life *life)
{
    struct boot_abilities abilities = loader_abilities(&life->loader);

    return abilities.tries && life->loader.tries > 1 ? life->loader.tries : 2;
}

static void describe(const struct life *life, const char *rule)
{
    print_error("%s does not hold: %s, Tries=%u, quality %d, %u tries, %u starts\n", rule,
                loader_kind_name(life->loader.kind), life->loader.tries, life->quality, life->tries,
                life->starts);
    for (unsigned i = 0; i < life->strike_count; i++)
        print_error("  strike at moment %u: %d\n", life->strikes[i].moment, life->strikes[i].event);
}

#define HOLDS(life, rule, what)                                                                              \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            describe(life, rule);                                                                            \
            fail();                                                                                          \
        }                                                                                                    \
    } while (false)

static void check_end(const struct life *life, bool ended)
{
    struct record_release offered = life_release(LIFE_OFFERED);
    struct boot_state boot = loader_read(&life->loader);
    enum slot running = life->loader.running;
    bool failed = record_find_failed(life->medium, &offered) != NULL;
    unsigned tries = tries_of(life);

    HOLDS(life, life->broken ? life->broken : "", !life->broken);
    HOLDS(life, "every path ends", ended);
    HOLDS(life, "at the end a good slot runs and stays selected",
          life->gave_up ||
              (boot.next == running && boot.trial != running && life->loader.startable[running]));
    HOLDS(life, "what runs at the end is fit",
          life->holds[running] == LIFE_OLD || life->quality == LIFE_FIT || life->goods_asked);
    HOLDS(life, "at the end the trial is over",
          life->gave_up || life->medium->trial.stage == RECORD_STAGE_NONE);
    HOLDS(life, "what is offered runs, or is known to have failed",
          life->holds[running] == LIFE_OFFERED || failed || life->gave_up);
    /* No try is lost: a release counts as failed only after all its tries, unless it was rejected. That the
     * machine went down in another way than the try that was asked for cannot be told from one that did not
     * come up. */
    if (life->quality == LIFE_FIT && failed && !life->rejects_asked)
        HOLDS(life, "a fit release has all its tries",
              life->tries + life->cut_while_asked >= tries || life->kills >= 3);
    /* None is given twice, but where the record could not know that it was armed, and where an operator asks.
     * A strike in the trial itself may cost the verdict's save, and then the release is judged once more. */
    if (life->quality != LIFE_FIT && !life->goods_asked)
        HOLDS(life, "an unfit release is not tried for ever",
              life->tries <=
                  (tries + life->strike_count) * (1 + life->installs_asked + life->cut_while_armed));
}

static void live(enum loader_kind kind, unsigned tries, enum life_quality quality,
                 const struct life_strike *strikes, unsigned strike_count)
{
    struct life life;

    life_init(&life, kind, tries, quality);
    life.strike_count = strike_count;
    memcpy(life.strikes, strikes, strike_count * sizeof(strikes[0]));
    bool ended = life_run(&life);
    check_end(&life, ended);
    life_finish(&life);
    lives++;
}

#define FOR_EACH_MACHINE(kind, tries, quality)                                                               \
    for (int kind = 0; kind < LOADER_KIND_COUNT; kind++)                                                     \
        for (int tries##_i = 0, tries = 0; tries##_i < 2 && (tries = (int)tries_tried[tries##_i], true);     \
             tries##_i++)                                                                                    \
            for (int quality = 0; quality < LIFE_QUALITY_COUNT; quality++)

/* Without any strike the counts are exact. */
static void test_undisturbed(void **state)
{
    FOR_EACH_MACHINE(kind, tries, quality)
    {
        struct life life;
        life_init(&life, (enum loader_kind)kind, (unsigned)tries, (enum life_quality)quality);
        bool ended = life_run(&life);
        check_end(&life, ended);
        unsigned expected = quality == LIFE_PANICS ? tries_of(&life) : 1;
        HOLDS(&life, "the number of tries is exact", life.tries == expected);
        HOLDS(&life, "only what failed is known as failed",
              (life.holds[life.loader.running] == LIFE_OFFERED) == (quality == LIFE_FIT));
        life_finish(&life);
    }
}

/* Whatever strikes, at every moment. */
static void test_one_strike(void **state)
{
    FOR_EACH_MACHINE(kind, tries, quality)
    for (unsigned moment = 1; moment <= MOMENTS_MAX; moment++)
        for (int event = 0; event < LIFE_EVENT_COUNT; event++)
            live((enum loader_kind)kind, (unsigned)tries, (enum life_quality)quality,
                 &(struct life_strike){moment, (enum life_event)event}, 1);
}

static unsigned draw(uint64_t *seed, unsigned below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*seed >> 33) % below);
}

static int compare_strikes(const void *a, const void *b)
{
    const struct life_strike *first = a, *second = b;

    return (first->moment > second->moment) - (first->moment < second->moment);
}

/* Up to four of them, by chance, and the same each time. */
static void test_several_strikes(void **state)
{
    uint64_t seed = 1;

    FOR_EACH_MACHINE(kind, tries, quality)
    for (int i = 0; i < RANDOM_LIVES; i++) {
        struct life_strike strikes[LIFE_STRIKES_MAX];
        unsigned count = 2 + draw(&seed, LIFE_STRIKES_MAX - 1);
        for (unsigned j = 0; j < count; j++)
            strikes[j] = (struct life_strike){1 + draw(&seed, MOMENTS_MAX),
                                              (enum life_event)draw(&seed, LIFE_EVENT_COUNT)};
        qsort(strikes, count, sizeof(strikes[0]), compare_strikes);
        live((enum loader_kind)kind, (unsigned)tries, (enum life_quality)quality, strikes, count);
    }
}

/* A loader that starts the same slot whatever it is told: the machine comes to rest, and is not rebooted for
 * ever. */
static void test_a_lying_loader(void **state)
{
    FOR_EACH_MACHINE(kind, tries, quality)
    {
        struct life life;
        if (kind == LOADER_FILE)
            continue;
        life_init(&life, (enum loader_kind)kind, (unsigned)tries, (enum life_quality)quality);
        life.loader.lies = true;
        HOLDS(&life, "every path ends", life_run(&life));
        HOLDS(&life, "what runs is the old release", life.holds[life.loader.running] == LIFE_OLD);
        HOLDS(&life, "the machine is left alone after a few reboots", life.boot <= 10);
        life_finish(&life);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_one_strike),
        cmocka_unit_test(test_several_strikes),
        cmocka_unit_test(test_a_lying_loader),
    };
    struct timespec begun, ended;

    clock_gettime(CLOCK_MONOTONIC, &begun);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    print_message("%zu lives, %.0f a second\n", lives, (double)lives / seconds);
    return failures;
}
