/* SPDX-License-Identifier: MIT */
#include "common/image/manifest_member.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/alloc.h"

bool manifest_need_number(struct json_object *object, const char *where, const char *name, uint64_t min,
                          uint64_t max, uint64_t *ret_value, struct error *error)
{
    uint64_t value;

    switch (json_get_u64(object, name, max, &value)) {
    case JSON_MEMBER_ABSENT:
        return error_set(error, ERROR_FORMAT, "the manifest lacks %s%s", where, name);
    case JSON_MEMBER_OK:
        if (value >= min) {
            *ret_value = value;
            return true;
        }
        break;
    case JSON_MEMBER_BAD:
        break;
    }
    return error_set(error, ERROR_FORMAT,
                     "%s%s of the manifest is no whole number from %" PRIu64 " to %" PRIu64, where, name, min,
                     max);
}

bool manifest_need_string(struct json_object *object, const char *where, const char *name,
                          const char **ret_text, struct error *error)
{
    switch (json_get_string(object, name, ret_text)) {
    case JSON_MEMBER_ABSENT:
        return error_set(error, ERROR_FORMAT, "the manifest lacks %s%s", where, name);
    case JSON_MEMBER_BAD:
        return error_set(error, ERROR_FORMAT, "%s%s of the manifest is no string", where, name);
    case JSON_MEMBER_OK:
        break;
    }
    return true;
}

bool manifest_need_sha256(struct json_object *object, const char *where,
                          uint8_t ret_sha256[DIGEST_SHA256_SIZE], struct error *error)
{
    const char *hex;

    if (!manifest_need_string(object, where, "sha256", &hex, error))
        return false;
    if (digest_sha256_from_hex(hex, ret_sha256) < 0)
        return error_set(error, ERROR_FORMAT,
                         "%ssha256 of the manifest is no SHA-256: it takes 64 hex digits", where);
    return true;
}

bool manifest_need_url(struct json_object *object, const char *where, char **ret_url, struct error *error)
{
    const char *url;

    if (!manifest_need_string(object, where, "url", &url, error))
        return false;
    if (!*url || strlen(url) > MANIFEST_URL_MAX)
        return error_set(error, ERROR_FORMAT, "%surl of the manifest has not 1 to %d bytes", where,
                         MANIFEST_URL_MAX);
    *ret_url = alloc_string(url);
    return true;
}

void manifest_add_sha256(struct json_object *object, const uint8_t sha256[DIGEST_SHA256_SIZE])
{
    char hex[DIGEST_SHA256_HEX_SIZE];

    digest_sha256_to_hex(sha256, hex);
    json_add_string(object, "sha256", hex);
}
