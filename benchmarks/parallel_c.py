"""The functions of `benchmarks.parallel` by hand in C, with OpenMP where it is on; T is the type of the elements.

Arguments are operands, results, memory to work in, sizes. Without OpenMP scans and filters are one pass; with it each
thread has a part of its own, and there are two. Sums are `omp simd`: gcc may reorder them, as hotloop does.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import peers

Array = np.ndarray[Any, Any]
TYPES = {
    "float32": ("float", "uint32_t", ctypes.c_float),
    "float64": ("double", "uint64_t", ctypes.c_double),
    "int32": ("int32_t", "uint32_t", ctypes.c_int32),
    "int64": ("int64_t", "uint64_t", ctypes.c_int64),
}

SOURCE = r"""
#include <stdint.h>
#include <string.h>
#include <tgmath.h>
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#define THREADS omp_get_num_threads()
#else
#define THREAD 0
#define THREADS 1
#endif
enum { MOST = 256 };

void axpy(T a, const T *restrict x, const T *restrict y, T *restrict out, long n) {
    #pragma omp parallel for simd
    for (long i = 0; i < n; i++) out[i] = a * x[i] + y[i];
}

void three(const T *restrict x, const T *restrict y, const T *restrict z, T *restrict out, long n) {
    for (long i = 0; i < n; i++) out[i] = x[i] * y[i] + z[i];
}

T total(const T *restrict x, long n) {
    T sum = 0;
    #pragma omp parallel for simd reduction(+:sum)
    for (long i = 0; i < n; i++) sum += x[i];
    return sum;
}

T dot(const T *restrict x, const T *restrict y, long n) {
    T sum = 0;
    #pragma omp parallel for simd reduction(+:sum)
    for (long i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

void prefix(const T *restrict x, T *restrict out, long n) {
    T totals[MOST + 1] = {0};
    #pragma omp parallel
    {
        long part = THREAD, parts = THREADS, low = n * part / parts, high = n * (part + 1) / parts;
        if (part + 1 < parts) {
            T sum = 0;
            #pragma omp simd reduction(+:sum)
            for (long i = low; i < high; i++) sum += x[i];
            totals[part + 1] = sum;
        }
        #pragma omp barrier
        T sum = 0;
        for (long i = 0; i <= part; i++) sum += totals[i];
        for (long i = low; i < high; i++) out[i] = sum += x[i];
    }
}

long above(const T *restrict x, T *restrict out, T *restrict spare, long n) {
#ifdef _OPENMP
    long starts[MOST + 1] = {0}, kept = 0;
    #pragma omp parallel
    {
        long part = THREAD, parts = THREADS, low = n * part / parts, high = n * (part + 1) / parts, k = low + part;
        for (long i = low; i < high; i++) { spare[k] = x[i]; k += x[i] > (T)0.5; }
        long found = starts[part + 1] = k - (low + part);
        #pragma omp barrier
        long start = 0;
        for (long i = 0; i <= part; i++) start += starts[i];
        memcpy(out + start, spare + low + part, found * sizeof(T));
        #pragma omp atomic
        kept += found;
    }
    return kept;
#else
    long k = 0;
    for (long i = 0; i < n; i++) { out[k] = x[i]; k += x[i] > (T)0.5; }
    return k;
#endif
}

/* A stable radix sort by bytes, the lowest first; places go along where there are any. Sorted keys end in `keys` again. */
static inline U key_of(T x) {
    const U high = (U)1 << (8 * sizeof(U) - 1);
    U bits;
    memcpy(&bits, &x, sizeof x);
    return bits ^ (FLOATING && bits & high ? ~(U)0 : high);
}

static inline T value_of(U key) {
    const U high = (U)1 << (8 * sizeof(U) - 1);
    U bits = key ^ (FLOATING && !(key & high) ? ~(U)0 : high);
    T x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline __attribute__((always_inline)) void radix(U *keys, U *other, int64_t *places, int64_t *spare, long n) {
    static long counts[MOST][256];
    #pragma omp parallel
    {
        long part = THREAD, parts = THREADS, low = n * part / parts, high = n * (part + 1) / parts;
        U *from = keys, *to = other;
        int64_t *places_from = places, *places_to = spare;
        for (int shift = 0; shift < 8 * (int)sizeof(U); shift += 8) {
            long *own = counts[part];
            for (int k = 0; k < 256; k++) own[k] = 0;
            for (long i = low; i < high; i++) own[from[i] >> shift & 255]++;
            #pragma omp barrier
            #pragma omp single
            {
                long before = 0;
                for (int k = 0; k < 256; k++)
                    for (long p = 0; p < parts; p++) { long here = counts[p][k]; counts[p][k] = before; before += here; }
            }
            for (long i = low; i < high; i++) {
                long place = own[from[i] >> shift & 255]++;
                to[place] = from[i];
                if (places) places_to[place] = places_from[i];
            }
            #pragma omp barrier
            U *k = from; from = to; to = k;
            int64_t *p = places_from; places_from = places_to; places_to = p;
        }
    }
}

void ordered(const T *restrict x, T *out, U *keys, U *other, int64_t *spare, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) keys[i] = key_of(x[i]);
    radix(keys, other, 0, 0, n);
    #pragma omp parallel for
    for (long i = 0; i < n; i++) out[i] = value_of(keys[i]);
}

void order(const T *restrict x, int64_t *restrict out, U *keys, U *other, int64_t *spare, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) { keys[i] = key_of(x[i]); out[i] = i; }
    radix(keys, other, out, spare, n);
}

void by_key(const T *restrict x, const int64_t *restrict values, T *out, int64_t *moved, U *keys, U *other, int64_t *spare, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) { keys[i] = key_of(x[i]); moved[i] = values[i]; }
    radix(keys, other, moved, spare, n);
    #pragma omp parallel for
    for (long i = 0; i < n; i++) out[i] = value_of(keys[i]);
}

void bins(const int64_t *restrict places, long m, int64_t *restrict out, long n) {
    memset(out, 0, m * sizeof *out);
    #pragma omp parallel for reduction(+:out[:m])
    for (long i = 0; i < n; i++) out[places[i]]++;
}

void gathered(const T *restrict x, const int64_t *restrict places, T *restrict out, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) out[i] = x[places[i]];
}

void scattered(const T *restrict x, const int64_t *restrict places, T *restrict out, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) out[places[i]] = x[i];
}

static inline T normal(T d) {
    T k = 1 / (1 + (T)0.2316419 * fabs(d));
    T tail = k * ((T)0.31938153 + k * ((T)-0.356563782 + k * ((T)1.781477937 + k * ((T)-1.821255978 + k * (T)1.330274429))));
    T below = (T)0.3989422804014327 * exp((T)-0.5 * d * d) * tail;
    return d > 0 ? 1 - below : below;
}

void options(const T *restrict spots, const T *restrict strikes, const T *restrict years, T *restrict out, long n) {
    const T rate = (T)0.02, volatility = (T)0.3;
    #pragma omp parallel for
    for (long i = 0; i < n; i++) {
        T root = volatility * sqrt(years[i]);
        T d = (log(spots[i] / strikes[i]) + (rate + (T)0.5 * volatility * volatility) * years[i]) / root;
        out[i] = spots[i] * normal(d) - strikes[i] * exp(-rate * years[i]) * normal(d - root);
    }
}

void mandelbrot(long rows, long columns, long limit, int64_t *restrict out) {
    #pragma omp parallel for schedule(dynamic)
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) {
            double x = 3.0 * j / columns - 2.0, y = 2.0 * i / rows - 1.0, a = 0, b = 0;
            long k = 0;
            for (; k < limit && a * a + b * b < 4.0; k++) {
                double next = a * a - b * b + x;
                b = 2.0 * a * b + y;
                a = next;
            }
            out[i * columns + j] = k;
        }
}

void product(const T *restrict values, const int64_t *restrict columns, const int64_t *restrict starts, const T *restrict x,
             T *restrict out, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) {
        T sum = 0;
        for (long k = starts[i]; k < starts[i + 1]; k++) sum += values[k] * x[columns[k]];
        out[i] = sum;
    }
}

void labels(const T *restrict xs, const T *restrict ys, const T *restrict ps, const T *restrict qs, int64_t *restrict out, long n, long m) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) {
        T least = INFINITY;
        int64_t label = 0;
        for (long k = 0; k < m; k++) {
            T x = xs[i] - ps[k], y = ys[i] - qs[k], d = x * x + y * y;
            if (d < least) { least = d; label = k; }
        }
        out[i] = label;
    }
}

void accelerations(const T *restrict x, const T *restrict y, const T *restrict z, const T *restrict masses, T *restrict ax, T *restrict ay,
                   T *restrict az, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; i++) {
        T a = 0, b = 0, c = 0;
        for (long j = 0; j < n; j++) {
            T dx = x[j] - x[i], dy = y[j] - y[i], dz = z[j] - z[i];
            T squared = dx * dx + dy * dy + dz * dz + (T)0.0025;
            T strength = masses[j] / (squared * sqrt(squared));
            a += strength * dx; b += strength * dy; c += strength * dz;
        }
        ax[i] = a; ay[i] = b; az[i] = c;
    }
}

void relaxed(const T *restrict u, T *restrict out, long rows, long columns) {
    #pragma omp parallel for
    for (long i = 0; i < rows; i++) {
        const T *row = u + i * columns;
        T *to = out + i * columns;
        if (i == 0 || i == rows - 1) { memcpy(to, row, columns * sizeof(T)); continue; }
        to[0] = row[0];
        for (long j = 1; j < columns - 1; j++) to[j] = (T)0.25 * (row[j - columns] + row[j + columns] + row[j - 1] + row[j + 1]);
        to[columns - 1] = row[columns - 1];
    }
}

static inline T lives(const T *above, const T *row, const T *below, long left, long j, long right) {
    T around = above[left] + above[j] + above[right] + row[left] + row[right] + below[left] + below[j] + below[right];
    return around == 3 || (around == 2 && row[j] == 1);
}

void generation(const T *restrict cells, T *restrict out, long rows, long columns) {
    #pragma omp parallel for
    for (long i = 0; i < rows; i++) {
        const T *above = cells + (i + rows - 1) % rows * columns, *row = cells + i * columns, *below = cells + (i + 1) % rows * columns;
        T *to = out + i * columns;
        to[0] = lives(above, row, below, columns - 1, 0, 1);
        for (long j = 1; j < columns - 1; j++) to[j] = lives(above, row, below, j - 1, j, j + 1);
        to[columns - 1] = lives(above, row, below, columns - 2, columns - 1, 0);
    }
}
"""


@functools.cache
def library(dtype: str, flags: Sequence[str], parallel: bool) -> ctypes.CDLL:
    """Compile all functions for one type of elements; parallel: with OpenMP's threads, else with its `simd` alone."""
    kind, key, number = TYPES[dtype]
    defined = (f"-DT={kind}", f"-DU={key}", f"-DFLOATING={int(dtype.startswith('float'))}", "-Wno-unused")
    openmp = ["-fopenmp"] if parallel else ["-fopenmp-simd"]
    built = peers.library(SOURCE, (*flags, *defined), compiler=peers.c_compiler(), linked=openmp)
    built.total.restype = built.dot.restype = number
    built.above.restype = ctypes.c_long
    return built


def pointer(x: Array) -> ctypes.c_void_p:
    """Return the address of an array that lives as long as the pointer does."""
    found = ctypes.c_void_p(x.ctypes.data)
    vars(found)["array"] = x
    return found
