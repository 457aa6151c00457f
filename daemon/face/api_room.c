/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_room.h"

#include <stdbool.h>
#include <stddef.h>

#include "daemon/face/api_server_client.h"

enum candidacy {
    CANDIDACY_NONE,
    CANDIDACY_LAST,
    CANDIDACY_FIRST,
};

static enum candidacy candidacy_of(const struct api_client *client, bool among_streams)
{
    switch (client->state) {
    case API_CLIENT_READING:
    case API_CLIENT_LINGERING:
        return among_streams ? CANDIDACY_NONE : CANDIDACY_FIRST;
    case API_CLIENT_REPLYING:
        return among_streams ? CANDIDACY_NONE : CANDIDACY_LAST;
    case API_CLIENT_STREAMING:
        return among_streams ? CANDIDACY_FIRST : CANDIDACY_NONE;
    case API_CLIENT_CLOSED:
        break;
    }
    return CANDIDACY_NONE;
}

static unsigned count_of(const struct api_client_set *set, uid_t uid, bool among_streams)
{
    const struct api_client *client;
    unsigned count = 0;

    TAILQ_FOREACH(client, &set->open, link)
    count += client->uid == uid && (!among_streams || client->state == API_CLIENT_STREAMING);
    return count;
}

static struct api_client *find(const struct api_client_set *set, uid_t newcomer, bool among_streams)
{
    struct api_client *client, *best = NULL;
    unsigned own = count_of(set, newcomer, among_streams), most = 0;

    TAILQ_FOREACH(client, &set->open, link)
    {
        unsigned count = count_of(set, client->uid, among_streams);
        enum candidacy candidacy = candidacy_of(client, among_streams);
        bool may_take = client->uid == newcomer ? !among_streams : newcomer == 0 || count > own;
        if (candidacy == CANDIDACY_NONE || !may_take)
            continue;
        /* The list is in order of time, so of equal clients the first one found is the oldest. */
        if (!best || count > most || (count == most && candidacy > candidacy_of(best, among_streams))) {
            best = client;
            most = count;
        }
    }
    return best;
}

struct api_client *api_room_find(const struct api_client_set *set, uid_t newcomer)
{
    return find(set, newcomer, false);
}

struct api_client *api_room_find_stream(const struct api_client_set *set, uid_t newcomer)
{
    return find(set, newcomer, true);
}
