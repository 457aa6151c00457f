/* SPDX-License-Identifier: MIT */
#include "common/base/timestamp.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Reads `count` digits, which were checked before. */
static unsigned digits_at(const char *text, size_t count)
{
    unsigned value = 0;

    for (size_t i = 0; i < count; i++)
        value = value * 10 + (unsigned)(text[i] - '0');
    return value;
}

/* The calendar is computed here because that of a C library with a time_t of 32 bits ends in 2038, and
 * releases may expire later. */
static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from the beginning of 1970 to that of `year`. */
static uint64_t days_before_year(unsigned year)
{
    unsigned past = year - 1; /* count the leap years up to this one, less those before 1970 */

    return (uint64_t)365 * (year - 1970) + (past / 4 - past / 100 + past / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400);
}

int timestamp_parse(const char *text, uint64_t *ret_seconds)
{
    static const char form[] = "0000-00-00T00:00:00Z";

    if (strnlen(text, sizeof(form)) != sizeof(form) - 1)
        return -EINVAL;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return -EINVAL;

    unsigned year = digits_at(text, 4), month = digits_at(text + 5, 2), day = digits_at(text + 8, 2);
    unsigned hour = digits_at(text + 11, 2), minute = digits_at(text + 14, 2),
             second = digits_at(text + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return -EINVAL;
    uint64_t days = days_before_year(year) + day - 1;
    for (unsigned before = 1; before < month; before++)
        days += days_of_month(year, before);
    uint64_t seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    if (seconds > TIMESTAMP_MAX)
        return -EINVAL;
    *ret_seconds = seconds;
    return 0;
}

char *timestamp_format(char ret_text[TIMESTAMP_TEXT_SIZE], uint64_t seconds)
{
    uint64_t value = seconds < TIMESTAMP_MAX ? seconds : TIMESTAMP_MAX, days = value / 86400;
    unsigned second = (unsigned)(value % 86400), month = 1;
    /* Years of 366 days give the right year or an earlier one; from there it is counted up. */
    unsigned year = 1970 + (unsigned)(days / 366);

    while (days_before_year(year + 1) <= days)
        year++;
    unsigned day = (unsigned)(days - days_before_year(year));
    for (; day >= days_of_month(year, month); month++)
        day -= days_of_month(year, month);
    /* The remainders change nothing, but show the compiler that the fields are not wider. */
    snprintf(ret_text, TIMESTAMP_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000, month % 100,
             (day + 1) % 100, second / 3600 % 100, second / 60 % 60, second % 60);
    return ret_text;
}
