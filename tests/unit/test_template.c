/* SPDX-License-Identifier: MIT */
/* Pages from templates: what stands for what, and that text stays text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/publish/report/template.h"

static const struct {
    const char *template, *values, *page;
} cases[] = {
    {"no tag", "{}", "no tag"},
    {"<b>{{name}}</b>{{number}}", "{\"name\":\"a\",\"number\":5}", "<b>a</b>5"},
    {"[{{missing}}]", "{}", "[]"},
    {"{{text}}", "{\"text\":\"<i a='b' c=\\\"d\\\">&\"}", "&lt;i a=&#39;b&#39; c=&quot;d&quot;&gt;&amp;"},
    {"{{text}}", "{\"text\":\"\\u001b[31m\\n{{name}}\",\"name\":\"x\"}", "?[31m?{{name}}"},
    {"{{#list}}{{n}}{{outer}},{{/list}}.", "{\"outer\":\"o\",\"list\":[{\"n\":1},{\"n\":2,\"outer\":\"i\"}]}",
     "1o,2i,."},
    {"{{#list}}x{{/list}}{{^list}}none{{/list}}", "{\"list\":[]}", "none"},
    {"{{#list}}x{{/list}}{{^list}}none{{/list}}", "{\"list\":[{}]}", "x"},
    {"{{#yes}}y{{/yes}}{{^yes}}n{{/yes}}{{#no}}y{{/no}}{{^no}}n{{/no}}", "{\"yes\":true,\"no\":false}", "yn"},
    {"{{#kind}}, {{kind}}{{/kind}};{{#other}}, {{other}}{{/other}}", "{\"kind\":\"ext4\"}", ", ext4;"},
    /* Sections within sections, some of which are not written. */
    {"{{#a}}({{#b}}{{n}}{{/b}}){{/a}}{{#c}}{{#b}}{{n}}{{/b}}c{{/c}}end",
     "{\"a\":[{\"b\":[{\"n\":1},{\"n\":2}]},{\"b\":[]}]}", "(12)()end"},
};

static void test_pages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_JSON struct json_object *values = json_tokener_parse(cases[i].values);
        char *page = NULL;
        size_t size;
        FILE *out = open_memstream(&page, &size);
        assert_non_null(values);
        assert_non_null(out);
        template_write(out, cases[i].template, values);
        assert_int_equal(fclose(out), 0);
        assert_string_equal(page, cases[i].page);
        free(page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
