/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a Unix socket, and whether he may give orders: root, the daemon's own user,
 * or a member of [Api] Group=, by what the kernel knew of him when he connected. Only
 * api_peer_find_group() may block.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/error.h"

/* What the rules look at. */
struct api_peer {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary */
    size_t group_count;
};

/* The group whose members may give orders, if there is one. */
struct api_peer_group {
    bool is_set;
    gid_t gid;
};

/* The rule itself: pure. */
bool api_peer_judge(const struct api_peer *peer, uid_t own_uid, const struct api_peer_group *group);

/* Asks the kernel (SO_PEERCRED, SO_PEERGROUPS) about a connected socket and applies the rule; false, with an
 * impossible user ID, if the kernel cannot tell. */
bool api_peer_may_change(int fd, const struct api_peer_group *group, uid_t *ret_uid);

/* Resolves a group's name or number; NULL and "" mean none. May block on the name service: at start only. */
bool api_peer_find_group(const char *name, struct api_peer_group *ret_group, struct error *error);
