/* SPDX-License-Identifier: MIT */
#include "common/io/http_fault.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/image/url.h"
#include "common/io/http_answer.h"
#include "common/io/http_transport.h"

/* A URL for a message: without secrets, cut to `max` bytes. */
static char *url_for_message(const char *url, size_t max)
{
    char *shown = url_for_display(url);

    if (strlen(shown) > max)
        strcpy(shown + max - strlen("..."), "...");
    return shown;
}

char *http_fault_where(CURL *easy, const char *url)
{
    const char *reached = NULL;
    long redirects = 0;

    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &reached);
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
    if (!reached || redirects == 0)
        return url_for_message(url, HTTP_ANSWER_URL_SHOWN);

    CLEANUP_FREE char *from = url_for_message(url, HTTP_ANSWER_URL_SHOWN / 2);
    CLEANUP_FREE char *to = url_for_message(reached, HTTP_ANSWER_URL_SHOWN / 2);
    return alloc_printf("%s (redirected from %s)", to, from);
}

static enum http_outcome fault(enum http_outcome outcome, enum error_kind kind, struct error *error,
                               const char *before, const char *where, const char *reason, const char *advice)
{
    error_set(error, kind, "%s%s: %s; %s", before, where, reason, advice);
    return outcome;
}

/* curl has the same code for a handshake that was refused and for one that was cut off; only OpenSSL's words
 * tell them apart. When in doubt it is taken for one that may pass. */
static enum http_outcome judge_handshake(const char *where, const char *reason, struct error *error)
{
    if (strstr(reason, "alert") || strstr(reason, "wrong version number") ||
        strstr(reason, "unsupported protocol"))
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "no encrypted connection for ", where, reason,
                     "check that the server speaks TLS 1.2 or newer at that port and takes our certificate");
    return fault(HTTP_OUTCOME_TRANSIENT, ERROR_NETWORK, error, "no encrypted connection for ", where, reason,
                 "try again later");
}

/* A certificate that is refused for its dates gets a code of its own, because the device's clock may be
 * wrong. */
static enum http_outcome judge_certificate(CURL *easy, const char *where, const char *reason,
                                           struct error *error)
{
    /* OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, which curl hands on. */
    enum { NOT_YET_VALID = 9, HAS_EXPIRED = 10 };
    long result = 0;

    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &result);
    fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the server is not trusted for ", where, reason,
          "check this machine's clock, the server's certificate and the trusted authorities");
    if (error && (result == NOT_YET_VALID || result == HAS_EXPIRED))
        error->code = EKEYEXPIRED;
    return HTTP_OUTCOME_FAILED;
}

/* A redirect that is not followed, or an answer that is not HTTP: curl has one code for both. */
static enum http_outcome judge_protocol(CURL *easy, const char *where, const char *reason, bool secure,
                                        struct error *error)
{
    const char *reached = NULL;
    long redirects = 0;

    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &reached);
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
    if (strstr(reason, "HTTP/0.9"))
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the answer for ", where, "it is not HTTP",
                     "check the URL and the server");
    if (redirects > 0 && secure && reached && strncasecmp(reached, "http:", strlen("http:")) == 0)
        return fault(HTTP_OUTCOME_FAILED, ERROR_REFUSED, error, "the redirect is refused to ", where,
                     "it leads from https to plain http", "check the server's redirect");
    if (redirects == 0 && secure && reached && strncasecmp(reached, "http:", strlen("http:")) == 0)
        return fault(HTTP_OUTCOME_FAILED, ERROR_REFUSED, error, "cannot fetch ", where,
                     "a public key is pinned, and plain http shows none",
                     "write https:// into the URL, or pin no key");
    if (redirects > 0)
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the redirect is refused to ", where,
                     "only http and https are followed", "check the server's redirect");
    return fault(HTTP_OUTCOME_FAILED, ERROR_REFUSED, error, "cannot fetch ", where, reason,
                 "the URL must begin with http:// or https://");
}

/* A timeout before any answer, or within it. */
static enum http_outcome judge_connection(CURL *easy, CURLcode code, const char *where, const char *reason,
                                          struct error *error)
{
    const char *before = "the transfer broke off for ";
    long proxy_status = 0;
    long os_errno = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    if (proxy_status >= 400 && proxy_status < 500)
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the proxy refuses ", where, reason,
                     "check the proxy's address, user and password");
    if (code == CURLE_OPERATION_TIMEDOUT)
        before = "timeout for ";
    else if (code == CURLE_COULDNT_CONNECT)
        before = "no connection for ";
    fault(HTTP_OUTCOME_TRANSIENT, ERROR_NETWORK, error, before, where, reason,
          "check the network and the server, or try again later");
    if (error)
        error->code = (int)os_errno;
    return HTTP_OUTCOME_TRANSIENT;
}

enum http_outcome http_fault_judge(CURL *easy, CURLcode code, const char *reason, const char *where,
                                   bool secure, struct error *error)
{
    if (!*reason)
        reason = curl_easy_strerror(code);

    if (text_has_prefix(reason, "Unsupported proxy"))
        return fault(HTTP_OUTCOME_FAILED, ERROR_REFUSED, error, "cannot fetch ", where,
                     "the proxy's address makes no sense", "correct it");
    /* If curl's text contains an address, it may contain a password as well. */
    if (strstr(reason, "://") || strchr(reason, '@'))
        reason = curl_easy_strerror(code);
    /* curl has many codes; those not named here are failures that may pass. */
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return fault(HTTP_OUTCOME_TRANSIENT, ERROR_NETWORK, error, "no address for ", where, reason,
                     "check the URL, the proxy and the name server");
    case CURLE_URL_MALFORMAT:
        return fault(HTTP_OUTCOME_FAILED, ERROR_REFUSED, error, "cannot fetch ", where, reason,
                     "correct the URL");
    case CURLE_UNSUPPORTED_PROTOCOL:
        return judge_protocol(easy, where, reason, secure, error);
    case CURLE_TOO_MANY_REDIRECTS:
        error_set(error, ERROR_REMOTE,
                  "gave up at %s: there are more than %d redirects; check the server's redirects", where,
                  HTTP_TRANSPORT_REDIRECTS_MAX);
        return HTTP_OUTCOME_FAILED;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return judge_certificate(easy, where, reason, error);
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the server is not trusted for ", where,
                     "its public key is not a pinned one",
                     "check the server, or pin its new key as well if the publisher has changed it");
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
        return fault(HTTP_OUTCOME_FAILED, ERROR_SYSTEM, error, "no trusted authorities for ", where, reason,
                     "check the file of authorities");
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
        return fault(HTTP_OUTCOME_FAILED, ERROR_SYSTEM, error, "no client certificate for ", where, reason,
                     "check the certificate and key files");
    case CURLE_SSL_CONNECT_ERROR:
        return judge_handshake(where, reason, error);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_FILESIZE_EXCEEDED:
        return fault(HTTP_OUTCOME_FAILED, ERROR_REMOTE, error, "the answer for ", where, reason,
                     "check the server");
    case CURLE_OUT_OF_MEMORY:
        return fault(HTTP_OUTCOME_TRANSIENT, ERROR_SYSTEM, error, "cannot fetch ", where, reason,
                     "free some memory and try again");
    default:
        return judge_connection(easy, code, where, reason, error);
    }
}
