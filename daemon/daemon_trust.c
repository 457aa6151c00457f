/* SPDX-License-Identifier: MIT */
/* Which manifests this device trusts, and the gate to arming. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/timestamp.h"
#include "common/base/wall_clock.h"
#include "daemon/decide/offer.h"

/* A clock that is this far past the known floor is wrong as well: no device built today is in use that
 * long. */
#define LIFETIME_S (UINT64_C(40) * 365 * 24 * 3600)

static bool is_demanded(const struct daemon *daemon)
{
    return offer_must_be_signed(daemon->config, daemon->record);
}

struct trust daemon_trust(const struct daemon *daemon)
{
    return (struct trust){.keys = daemon->config->keys, .demanded = is_demanded(daemon)};
}

void daemon_trust_describe(const struct daemon *daemon, char *ret_text, size_t size)
{
    const char *folder = daemon->config->keys_folder;
    size_t count = trust_keys_count(daemon->config->keys);

    if (!is_demanded(daemon))
        snprintf(
            ret_text, size,
            "the server is trusted: %s, so whoever controls it, or the way to it, decides what this device boots",
            daemon->config->require_signature == CONFIG_DEMAND_NO ? "RequireSignature=no"
                                                                  : "no key is installed");
    else if (daemon->config->keys_why)
        snprintf(ret_text, size, "nothing is installed: %.400s", daemon->config->keys_why);
    else if (count)
        snprintf(ret_text, size, "manifests must be signed by %s of %.200s",
                 count == 1 ? "the key" : "one of the keys", folder);
    else
        snprintf(
            ret_text, size,
            "manifests must be signed, for a signed release was accepted before, and there is no *.pub in %.200s, so "
            "nothing is installed; put the publisher's key there, or set RequireSignature=no",
            folder);
}

void daemon_trust_log(const struct daemon *daemon)
{
    char text[512];

    daemon_trust_describe(daemon, text, sizeof(text));
    if (is_demanded(daemon) && trust_keys_count(daemon->config->keys) > 0)
        log_info("%s", text);
    else
        log_warning("%s", text);
}

bool daemon_trust_explain_clock(const struct daemon *daemon, const struct error *error, char *ret_why,
                                size_t size)
{
    uint64_t now_s = wall_clock_now_s(), floor_s = offer_floor_s(daemon->record);
    char now[TIMESTAMP_TEXT_SIZE], floor[TIMESTAMP_TEXT_SIZE];

    if (error->code != EKEYEXPIRED || (now_s >= floor_s && now_s - floor_s < LIFETIME_S))
        return false;
    timestamp_format(now, now_s);
    timestamp_format(floor, floor_s);
    snprintf(
        ret_why, size,
        "the server's certificate is not valid at %s, which is what this machine's clock says and cannot be: it is %s "
        "or later; set the clock",
        now, floor);
    return true;
}

/* However the target was filled (fetched, copied, kept from before a restart): what was just read back must
 * have the SHA-256 of the manifest, and where a signature is demanded, the manifest must be signed. */
static bool allows_arming(const struct daemon *daemon, const struct targets *held, struct error *error)
{
    const struct installer_view *installed = installer_view(daemon->installer);
    const struct record_release *release = &installed->release;

    for (unsigned i = 0; i < installed->image_count; i++) {
        const struct installer_image *image = &installed->images[i];
        /* A part without SHA-256 is no part; only the main image of an ancestor's manifest has none. */
        bool must = *image->sha256 || strcmp(image->name, MANIFEST_MAIN_NAME) != 0;
        if (must && (!*image->sha256 || strcmp(image->sha256, image->read_back) != 0))
            return error_set(error, ERROR_MISMATCH,
                             "the release is not armed: what was read back of %s from the target is not what "
                             "its manifest says",
                             image->name);
    }
    if (installed->image_count != held->count || !targets_find(held, MANIFEST_MAIN_NAME) ||
        (*release->parts_sha256 && held->count == 1))
        return error_set(error, ERROR_MISMATCH, "the release is not armed: not all its images are held");
    /* However the rules came to let it pass: a slot is not armed with a part of some other release in it. */
    for (unsigned i = 0; i < daemon->fixed->part_count; i++)
        if (!targets_find(held, daemon->fixed->parts[i].name))
            return error_set(error, ERROR_REFUSED, "the release is not armed: it has no part %s",
                             daemon->fixed->parts[i].name);
    if (!is_demanded(daemon))
        return true;
    if (!release->is_signed)
        return error_set(error, ERROR_REFUSED, "the release is not armed: it is not signed by a trusted key");
    if (!*release->sha256)
        return error_set(error, ERROR_REFUSED, "the release is not armed: nothing proves it by SHA-256");
    return true;
}

bool daemon_trust_arm(struct daemon *daemon, struct targets *held, boot_selection_done_fn then,
                      struct error *ret_refusal)
{
    if (!allows_arming(daemon, held, ret_refusal))
        return false;
    boot_selection_arm(daemon->boot, daemon->target.slot, held, then);
    return true;
}
