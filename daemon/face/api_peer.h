/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a Unix socket, and whether he may give orders: root, the daemon's own user, or a
 * member of [Api] Group=, as the kernel knew him when he connected. Never blocks, but api_peer_find_group()
 * may.
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

/* The group whose members may give orders, if any. */
struct api_peer_group {
    bool is_set;
    gid_t gid;
};

/* The rule itself: pure. */
bool api_peer_judge(const struct api_peer *peer, uid_t own_uid, const struct api_peer_group *group);

/* Asks the kernel (SO_PEERCRED, SO_PEERGROUPS) about a connected socket and judges; false, and a user that
 * nobody is, where it cannot tell. */
bool api_peer_may_change(int fd, const struct api_peer_group *group, uid_t *ret_uid);

/* Resolves a group's name or number; NULL and "" mean none. May block on the name service: at start only. */
bool api_peer_find_group(const char *name, struct api_peer_group *ret_group, struct error *error);
