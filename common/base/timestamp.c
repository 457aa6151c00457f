#include "common/base/timestamp.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

/* Reads `count` digits at `text`; the form was checked before. */
static int digits_at(const char *text, size_t count)
{
    int value = 0;

    for (size_t i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

int timestamp_parse(const char *text, uint64_t *ret_seconds)
{
    static const char form[] = "0000-00-00T00:00:00Z";

    if (strnlen(text, sizeof(form)) != sizeof(form) - 1)
        return -EINVAL;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return -EINVAL;

    int year = digits_at(text, 4), month = digits_at(text + 5, 2), day = digits_at(text + 8, 2);
    int hour = digits_at(text + 11, 2), minute = digits_at(text + 14, 2), second = digits_at(text + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return -EINVAL;
    struct tm parts = {.tm_year = year - 1900,
                       .tm_mon = month - 1,
                       .tm_mday = day,
                       .tm_hour = hour,
                       .tm_min = minute,
                       .tm_sec = second};
    time_t seconds = timegm(&parts);
    if (seconds < 0 || (uint64_t)seconds > TIMESTAMP_MAX)
        return -EINVAL;
    *ret_seconds = (uint64_t)seconds;
    return 0;
}

char *timestamp_format(char ret_text[TIMESTAMP_TEXT_SIZE], uint64_t seconds)
{
    struct tm parts;
    time_t value = (time_t)(seconds < TIMESTAMP_MAX ? seconds : TIMESTAMP_MAX);

    gmtime_r(&value, &parts);
    strftime(ret_text, TIMESTAMP_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return ret_text;
}
