/* SPDX-License-Identifier: MIT */
/* Keys and signatures. What verifies is the one signature that was made, whatever stands around it. */
#include "common/image/minisign.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/fuzz/fuzz.h"

/* Of minisign's author, who signed "test" with this comment; see tests/unit/test_minisign.c. */
static const char key_text[] = "untrusted comment: minisign public key\n"
                               "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
static const char signed_comment[] = "timestamp:1556193335\tfile:test";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct minisign_secret_key secret;
    struct minisign_key key, any;
    struct error error;
    char *comment;
    size_t used;

    minisign_parse_key(text, size, &any, &error);
    if (minisign_parse_secret_key(text, size, &secret, &error))
        minisign_secret_key_finish(&secret);
    if (!minisign_parse_key(key_text, strlen(key_text), &key, &error))
        abort();
    if (!minisign_verify(&key, 1, "test", 4, text, size, &comment, &used, &error)) {
        assert(error.kind != ERROR_NONE && *error.message);
        return 0;
    }
    assert(used == 0 && strcmp(comment, signed_comment) == 0);
    free(comment);
    return 0;
}
