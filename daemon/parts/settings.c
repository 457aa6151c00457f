/* SPDX-License-Identifier: MIT */
#include "daemon/parts/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* Belongs to the pool while `busy`. */
struct job {
    struct pool_job pool;
    const struct config_request *request;
    struct config *config;
    struct config_problems problems;
    bool loaded;
};

struct settings {
    struct settings_deps deps;
    const struct settings_events *events;
    void *owner;
    struct config *current;
    struct config *fixed; /* may be `current` */
    struct config *next;  /* read, and not taken yet */
    struct job job;
    bool busy;  /* the job belongs to the pool */
    bool again; /* read once more after the job under way */
    bool ends;  /* nothing more is read */
};

/* --- reading --- */

/* Runs on a pool thread. */
static void job_run(struct pool_job *pool_job)
{
    struct job *job = container_of(pool_job, struct job, pool);

    job->loaded = config_load(job->request, &job->config, &job->problems);
}

static void job_done(struct pool_job *pool_job);

static void submit(struct settings *settings)
{
    settings->busy = true;
    settings->again = false;
    settings->job =
        (struct job){.pool = {.run = job_run, .done = job_done}, .request = settings->deps.request};
    pool_submit(settings->deps.pool, &settings->job.pool);
}

static void job_done(struct pool_job *pool_job)
{
    struct job *job = container_of(pool_job, struct job, pool);
    struct settings *settings = container_of(job, struct settings, job);

    settings->busy = false;
    for (size_t i = 0; i < job->problems.count; i++)
        log_write(job->problems.items[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
                  job->problems.items[i].message);
    config_problems_finish(&job->problems);
    if (settings->again && !settings->ends) {
        config_free(job->config);
        submit(settings);
        return;
    }
    if (job->loaded) {
        config_free(settings->next);
        settings->next = job->config;
    }
    settings->events->read(settings->owner, job->loaded);
}

void settings_reload(struct settings *settings)
{
    if (settings->busy)
        settings->again = true;
    else
        submit(settings);
}

void settings_stop(struct settings *settings)
{
    settings->ends = true;
}

bool settings_is_busy(const struct settings *settings)
{
    return settings->busy;
}

/* --- taking --- */

void settings_take(struct settings *settings)
{
    if (settings->current != settings->fixed)
        config_free(settings->current);
    settings->current = settings->next;
    settings->next = NULL;
}

void settings_drop(struct settings *settings)
{
    config_free(settings->next);
    settings->next = NULL;
}

/* Prints a setting that needs a restart, because the running daemon was built on it. */
static void put_fixed(void *owner, const struct config_setting *setting)
{
    static const char *const sections[] = {"Slots", "Boot", "Api", "Storage"};

    bool is_fixed = text_has_prefix(setting->section, "Part ");

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        is_fixed |=
            strcmp(setting->section, sections[i]) == 0 && strcmp(setting->key, "AllowNoFallback") != 0;
    if (is_fixed)
        fprintf(owner, "[%s] %s=%s\n", setting->section, setting->key, setting->value);
}

/* All settings that need a restart, as text; freed by the caller. */
static char *list_fixed(const struct config *config)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    config_each_setting(config, put_fixed, stream);
    fclose(stream);
    return text;
}

bool settings_next_needs_restart(const struct settings *settings)
{
    CLEANUP_FREE char *before = list_fixed(settings->fixed);
    CLEANUP_FREE char *after = list_fixed(settings->next);

    return strcmp(before, after) != 0;
}

const struct config *settings_next(const struct settings *settings)
{
    return settings->next;
}

/* --- life --- */

struct settings *settings_new(const struct settings_deps *deps, const struct settings_events *events,
                              void *owner, struct config *config)
{
    struct settings *settings = alloc_zeroed(sizeof(*settings));

    settings->deps = *deps;
    settings->events = events;
    settings->owner = owner;
    settings->current = settings->fixed = config;
    return settings;
}

struct settings *settings_free(struct settings *settings)
{
    if (!settings)
        return NULL;
    config_free(settings->next);
    if (settings->current != settings->fixed)
        config_free(settings->current);
    config_free(settings->fixed);
    free(settings);
    return NULL;
}
