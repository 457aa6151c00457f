/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_peer.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/text.h"

bool api_peer_judge(const struct api_peer *peer, uid_t own_uid, const struct api_peer_group *group)
{
    if (peer->uid == 0 || peer->uid == own_uid)
        return true;
    if (!group->is_set)
        return false;
    if (peer->gid == group->gid)
        return true;
    for (size_t i = 0; i < peer->group_count; i++)
        if (peer->groups[i] == group->gid)
            return true;
    return false;
}

/* If the buffer is too small, the kernel answers ERANGE and the size it needs; a process has at most 65536
 * supplementary groups (NGROUPS_MAX), which limits the second attempt. */
static bool read_groups(int fd, gid_t **ret_groups, size_t *ret_count)
{
    socklen_t size = 64 * sizeof(gid_t);
    CLEANUP_FREE gid_t *groups = alloc_zeroed(size);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
        if (errno != ERANGE || size > 65536 * sizeof(gid_t))
            return false;
        free(groups);
        groups = alloc_zeroed(size);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
            return false;
    }
    *ret_groups = groups;
    *ret_count = size / sizeof(gid_t);
    groups = NULL;
    return true;
}

bool api_peer_may_change(int fd, const struct api_peer_group *group, uid_t *ret_uid)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);

    *ret_uid = (uid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || size != sizeof(credentials))
        return false;
    struct api_peer peer = {.uid = credentials.uid, .gid = credentials.gid};
    *ret_uid = peer.uid;
    if (api_peer_judge(&peer, geteuid(), group))
        return true;
    if (!group->is_set)
        return false;

    CLEANUP_FREE gid_t *groups = NULL;
    if (!read_groups(fd, &groups, &peer.group_count))
        return false;
    peer.groups = groups;
    return api_peer_judge(&peer, geteuid(), group);
}

bool api_peer_find_group(const char *name, struct api_peer_group *ret_group, struct error *error)
{
    uint64_t number;

    if (!name || !*name) {
        *ret_group = (struct api_peer_group){0};
        return true;
    }
    errno = 0;
    const struct group *entry = getgrnam(name);
    if (entry) {
        *ret_group = (struct api_peer_group){.is_set = true, .gid = entry->gr_gid};
        return true;
    }
    int code = errno;
    /* The largest number means "leave it as it is" to chown(). */
    if (text_parse_u64(name, &number) == 0 && number < (gid_t)-1) {
        *ret_group = (struct api_peer_group){.is_set = true, .gid = (gid_t)number};
        return true;
    }
    if (code && code != ENOENT && code != ESRCH)
        return error_set_errno(error, code, "cannot look up group %s of [Api] Group=", name);
    return error_set(error, ERROR_REFUSED, "there is no group %s: create it or change [Api] Group=", name);
}
