/* SPDX-License-Identifier: MIT */
#include "common/publish/patch_spans.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/min_max.h"
#include "common/publish/similarity.h"

enum {
    NEAR_MARGIN = 32 * 1024, /* bytes that are added on both sides of where the run should be */
    /* How many samples a block must have in common with the run. One means that 32 bytes or more are the
     * same; with 4, patches of an erofs with lz4 get 5 % larger. */
    GAIN_LEAST = 1,
    SPANS_JOIN_GAP = 16 * 1024, /* bytes up to which two spans become one */
};

/* One sample of the run that the base has in one of its blocks. */
struct vote {
    uint32_t block;
    uint32_t sample; /* number of the sample in the run */
};

/* A block of the base that has samples of the run. */
struct candidate {
    uint32_t block;
    uint32_t first, count; /* its votes */
    uint32_t gain;         /* at most so many of its samples are in nothing that was chosen yet */
};

/* Part of the base that was chosen. */
struct piece {
    uint64_t begin, end; /* bytes */
    uint32_t gain;       /* samples that it had and nothing chosen before it */
};

struct choice {
    uint64_t base_size;
    struct vote *votes;
    uint32_t vote_count;
    struct candidate *candidates;
    uint32_t candidate_count;
    bool *covered; /* of each sample: something that was chosen has it */
    uint32_t sample_count;
    struct piece *pieces;
    uint32_t piece_count;
    uint64_t left; /* bytes that may still be chosen */
};

/* a - b, or 0 if b is larger. */
static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t value_a = *(const uint64_t *)a, value_b = *(const uint64_t *)b;

    return (value_a > value_b) - (value_a < value_b);
}

static int compare_votes(const void *a, const void *b)
{
    const struct vote *vote_a = a, *vote_b = b;

    if (vote_a->block != vote_b->block)
        return vote_a->block < vote_b->block ? -1 : 1;
    return (vote_a->sample > vote_b->sample) - (vote_a->sample < vote_b->sample);
}

/* Finds the samples that the run and the base have in common. A sample that the run has several times counts
 * once, as zstd finds the repetition in the run itself. */
static void collect_votes(struct choice *choice, const struct base_image *base, const uint8_t *data,
                          size_t size)
{
    CLEANUP_FREE uint64_t *samples = NULL;
    size_t count = similarity_take_samples(base->similarity, data, size, 0, &samples), room = 0;

    if (count > 0)
        qsort(samples, count, sizeof(*samples), compare_u64);
    choice->covered = alloc_array(count, sizeof(*choice->covered));
    for (size_t i = 0; i < count; i++) {
        size_t found_count;
        if (i > 0 && samples[i] >> 32 == samples[i - 1] >> 32)
            continue;
        const uint64_t *found = similarity_find(base->similarity, samples[i], &found_count);
        choice->votes =
            alloc_grow(choice->votes, sizeof(*choice->votes), choice->vote_count + found_count, &room);
        for (size_t j = 0; j < found_count; j++)
            choice->votes[choice->vote_count++] =
                (struct vote){.block = (uint32_t)found[j], .sample = choice->sample_count};
        choice->sample_count++;
    }
    if (choice->vote_count > 0)
        qsort(choice->votes, choice->vote_count, sizeof(*choice->votes), compare_votes);
}

static void make_candidates(struct choice *choice)
{
    choice->candidates = alloc_array(choice->vote_count, sizeof(*choice->candidates));
    for (uint32_t i = 0; i < choice->vote_count; i++) {
        struct candidate *last = choice->candidates + choice->candidate_count - 1;
        if (choice->candidate_count > 0 && last->block == choice->votes[i].block) {
            last->count++;
            last->gain++;
        } else {
            choice->candidates[choice->candidate_count++] =
                (struct candidate){.block = choice->votes[i].block, .first = i, .count = 1, .gain = 1};
        }
    }
}

static uint32_t gain_of(const struct choice *choice, const struct candidate *candidate)
{
    uint32_t gain = 0;

    for (uint32_t i = 0; i < candidate->count; i++)
        gain += !choice->covered[choice->votes[candidate->first + i].sample];
    return gain;
}

static void cover(struct choice *choice, struct candidate *candidate)
{
    for (uint32_t i = 0; i < candidate->count; i++)
        choice->covered[choice->votes[candidate->first + i].sample] = true;
    candidate->gain = 0;
}

/* Chooses the bytes from `begin` to `end` as far as the base has them, at most `most` of them, and covers the
 * samples in the blocks that lie within. */
static void choose_range(struct choice *choice, uint64_t begin, uint64_t end, uint64_t most)
{
    end = min_u64(end, choice->base_size);
    if (begin >= end || most == 0)
        return;
    end = min_u64(end, begin + most);
    struct piece *piece = &choice->pieces[choice->piece_count++];
    *piece = (struct piece){.begin = begin, .end = end};
    for (uint32_t i = 0; i < choice->candidate_count; i++) {
        struct candidate *candidate = &choice->candidates[i];
        uint64_t block = (uint64_t)candidate->block * SIMILARITY_BLOCK_SIZE;
        if (block >= begin && min_u64(block + SIMILARITY_BLOCK_SIZE, choice->base_size) <= end) {
            piece->gain += gain_of(choice, candidate);
            cover(choice, candidate);
        }
    }
    choice->left -= end - begin;
}

/* A stretch of the base. */
struct range {
    uint64_t begin, end;
};

static struct range clipped(struct range range, struct range clip)
{
    return (struct range){.begin = max_u64(range.begin, clip.begin), .end = min_u64(range.end, clip.end)};
}

/* Chooses the places where the run should be in the base, as seen from the neighbour before and from the one
 * after; if the two overlap, as one. They get at most half of the bytes: if things have moved, what is
 * similar lies elsewhere. */
static void choose_near(struct choice *choice, const struct patch_run *run)
{
    struct range before = {0}, after = {0}, clip = {.end = UINT64_MAX};
    uint64_t most = choice->left / 2;

    if (run->has_before && run->has_after && run->before_end <= run->after_begin)
        clip = (struct range){minus(run->before_end, NEAR_MARGIN), run->after_begin + NEAR_MARGIN};
    if (run->has_before) {
        uint64_t place = run->before_end + run->before_distance;
        before = clipped((struct range){minus(place, NEAR_MARGIN), place + run->size + NEAR_MARGIN}, clip);
    }
    if (run->has_after) {
        uint64_t place = minus(run->after_begin, run->after_distance);
        after = clipped((struct range){minus(place, run->size + NEAR_MARGIN), place + NEAR_MARGIN}, clip);
    }
    if (before.begin < before.end && after.begin <= before.end && after.end >= before.begin) {
        before.begin = min_u64(before.begin, after.begin);
        before.end = max_u64(before.end, after.end);
        after = (struct range){0};
    }
    if (before.begin < before.end && after.begin < after.end)
        most /= 2;
    choose_range(choice, before.begin, before.end, most);
    choose_range(choice, after.begin, after.end, most);
}

/* Chooses the block that has most of the samples that are not yet covered, again and again. A candidate's
 * gain may be too high because of what was chosen since, so it is counted again before the block is taken. */
static void choose_alike(struct choice *choice)
{
    while (choice->left >= SIMILARITY_BLOCK_SIZE) {
        struct candidate *best = NULL;
        for (uint32_t i = 0; i < choice->candidate_count; i++)
            if (!best || choice->candidates[i].gain > best->gain)
                best = &choice->candidates[i];
        if (!best || best->gain < GAIN_LEAST)
            return;
        uint32_t gain = gain_of(choice, best);
        if (gain < best->gain) {
            best->gain = gain;
            continue;
        }
        uint64_t begin = (uint64_t)best->block * SIMILARITY_BLOCK_SIZE;
        choose_range(choice, begin, begin + SIMILARITY_BLOCK_SIZE, choice->left);
    }
}

static int compare_begins(const void *a, const void *b)
{
    const struct piece *piece_a = a, *piece_b = b;

    return (piece_a->begin > piece_b->begin) - (piece_a->begin < piece_b->begin);
}

static int compare_gains(const void *a, const void *b)
{
    const struct piece *piece_a = a, *piece_b = b;

    if (piece_a->gain != piece_b->gain)
        return piece_a->gain < piece_b->gain ? -1 : 1;
    return compare_begins(a, b);
}

/* Joins pieces that touch or nearly do, and sorts them by their gain. */
static void join_pieces(struct choice *choice)
{
    uint32_t count = 0;

    qsort(choice->pieces, choice->piece_count, sizeof(*choice->pieces), compare_begins);
    for (uint32_t i = 0; i < choice->piece_count; i++) {
        struct piece *piece = &choice->pieces[i], *last = &choice->pieces[count - 1];
        if (count > 0 && piece->begin <= last->end) {
            last->end = max_u64(last->end, piece->end);
            last->gain += piece->gain;
        } else if (count > 0 && piece->begin - last->end <= min_u64(SPANS_JOIN_GAP, choice->left)) {
            choice->left -= piece->begin - last->end;
            last->end = piece->end;
            last->gain += piece->gain;
        } else {
            choice->pieces[count++] = *piece;
        }
    }
    qsort(choice->pieces, count, sizeof(*choice->pieces), compare_gains);
    choice->piece_count = count;
}

uint32_t patch_spans_choose(const struct base_image *base, const struct patch_run *run, const uint8_t *data,
                            uint32_t span_max, struct patch_span ret_spans[PATCH_SPANS_MAX])
{
    struct choice choice = {.base_size = base->size, .left = span_max};
    uint32_t skip;

    collect_votes(&choice, base, data, run->size);
    make_candidates(&choice);
    /* Pieces: one for each block, two that are near, and one if there is no other. */
    choice.pieces = alloc_array(span_max / SIMILARITY_BLOCK_SIZE + 4, sizeof(*choice.pieces));
    choose_near(&choice, run);
    choose_alike(&choice);
    if (choice.piece_count == 0) /* nothing is similar, but a patch must have a span */
        choose_range(&choice, 0, 1, 1);
    join_pieces(&choice);
    skip = choice.piece_count > PATCH_SPANS_MAX ? choice.piece_count - PATCH_SPANS_MAX : 0;
    for (uint32_t i = skip; i < choice.piece_count; i++)
        ret_spans[i - skip] =
            (struct patch_span){.offset = choice.pieces[i].begin,
                                .size = (uint32_t)(choice.pieces[i].end - choice.pieces[i].begin)};
    free(choice.votes);
    free(choice.candidates);
    free(choice.covered);
    free(choice.pieces);
    return choice.piece_count - skip;
}
