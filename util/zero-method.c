/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/zero-method.h"

/*
 * Theory of operation
 *
 * A store to a line that is not in the cache reads the line first, and evicts
 * another one; both are wasted on memory that nobody looks at before it is
 * written again.  A streaming store writes a whole line past the cache.  Such
 * stores may become visible in another order than they were made: a fence ends
 * each method.
 *
 * A function for another CPU than the one we are built for has a target
 * attribute, and is called when that CPU says so.
 */

#ifdef __x86_64__
#include <immintrin.h>

static gboolean has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f");
}

static gboolean has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

/** SSE2, which each x86-64 has. */
static void zero_sse2(void *addr, gsize length)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i *at = addr;
    __m128i *end = (__m128i *)((guint8 *)addr + length);

    for (; at < end; at += 4) {
        _mm_stream_si128(at, zero);
        _mm_stream_si128(at + 1, zero);
        _mm_stream_si128(at + 2, zero);
        _mm_stream_si128(at + 3, zero);
    }
    _mm_sfence();
}

__attribute__((target("avx2"))) static void zero_avx2(void *addr, gsize length)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i *at = addr;
    __m256i *end = (__m256i *)((guint8 *)addr + length);

    for (; at < end; at += 2) {
        _mm256_stream_si256(at, zero);
        _mm256_stream_si256(at + 1, zero);
    }
    _mm_sfence();
}

__attribute__((target("avx512f"))) static void zero_avx512(void *addr,
                                                           gsize length)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i *at = addr;
    __m512i *end = (__m512i *)((guint8 *)addr + length);

    for (; at < end; at++) {
        _mm512_stream_si512(at, zero);
    }
    _mm_sfence();
}
#endif

static void zero_memset(void *addr, gsize length)
{
    memset(addr, 0, length);
}

/* On aarch64 memset(3) is what there is: glibc's clears lines by DC ZVA. */
static const HmZeroMethod methods[] = {
#ifdef __x86_64__
    {"avx512", has_avx512, zero_avx512},
    {"avx2", has_avx2, zero_avx2},
    {"sse2", NULL, zero_sse2},
#endif
    {"memset", NULL, zero_memset},
};

const HmZeroMethod *hm_zero_method_table(guint *n)
{
    *n = G_N_ELEMENTS(methods);
    return methods;
}
