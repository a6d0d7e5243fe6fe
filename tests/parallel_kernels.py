"""Kernels for tests of `_runner.ParallelFunction`, and plans that call them.

Every kernel is a C function of this, which lies at the start of the data block; the bytes are what a compiler made of it:

    typedef struct {
        long low, high;
        void *x; long nx;
        void *y; long ny;
        void *out, *out2;
        union { double d; long q; } a;
        union { double d; long q; float f; } s, s_other, t, t_other;
        char flag;
        long position, first, second;
        char less;
    } D;
    #define EACH for (long i = d->low; i < d->high; i++)
    #define F(name) ((double *)d->name)
    #define Q(name) ((long *)d->name)
"""

import functools

from hotloop import _runner

LOW, HIGH, X, NX, Y, NY, OUT, OUT2, A, S, S_OTHER, T, T_OTHER, FLAG, POSITION, FIRST, SECOND, LESS, DATA = range(0, 152, 8)

KERNELS = {
    "add": (
        "EACH F(out)[i] = F(x)[i] + F(y)[i];",
        "488b07483b47087d20488b4f10488b5720f20f1004c1f20f5804c2488b4f30f20f1104c148ffc0ebdac3",
    ),
    "shift": (
        "EACH Q(out)[i] = Q(x)[i] + d->a.q;",
        "488b07483b47087d19488b4f40488b5710488b773048030cc248890cc648ffc0ebe1c3",
    ),
    "places": (
        "EACH Q(out)[i] = i;",
        "488b07483b47087d0d488b4f30488904c148ffc0ebedc3",
    ),
    "gather": (
        "EACH { long k = Q(x)[i]; if (k < 0 || k >= d->ny) { d->flag = 1; k = 0; } F(out)[i] = F(y)[k]; }",
        "488b07483b47087d30488b4f10488b0cc14885c97806483b4f287c06c647680131c9488b5720488b7730f20f1004caf20f1104c648ffc0ebcac3",
    ),
    "sum_begin": (
        "d->s.d = F(x)[d->low];",
        "488b07488b4f10f20f1004c1f20f114748c3",
    ),
    "sum_run": (
        "double s = d->s.d; EACH s += F(x)[i]; d->s.d = s;",
        "f20f104748488b07488b4f084839c87d11488b5710f20f5804c248ffc04839c175f3f20f114748c3",
    ),
    "sum_combine": (
        "d->s.d += d->s_other.d;",
        "f20f104750f20f584748f20f114748c3",
    ),
    "whole_sum_f32": (
        "float s = 0; EACH s += ((float *)d->x)[i]; d->s.f = s;",
        "488b07488b4f080f57c04839c87d11488b5710f30f58048248ffc04839c175f3f30f114748c3",
    ),
    "combine_f32": (
        "d->s.f += d->s_other.f;",
        "f30f104750f30f584748f30f114748c3",
    ),
    "affine_begin": (
        "d->s.q = Q(x)[d->low]; d->t.q = Q(y)[d->low];",
        "488b07488b4f10488b0cc148894f48488b4f20488b04c148894758c3",
    ),
    "affine_run": (
        "EACH { d->s.q *= Q(x)[i]; d->t.q = d->t.q * Q(x)[i] + Q(y)[i]; }",
        "488b07488b4f084839c87d2e488b5710488b77204c8b47484c8b4f584c0faf04c24c8947484c0faf0cc24c030cc64c894f5848ffc04839c175e2c3",
    ),
    "affine_combine": (
        "d->s.q *= d->s_other.q; d->t.q = d->t.q * d->s_other.q + d->t_other.q;",
        "488b4750488b4f48480fafc848894f48480faf47584803476048894758c3",
    ),
    "scan_begin": (
        "long i = d->low; d->s.q = Q(x)[i]; Q(out)[i] = d->t.q = Q(y)[i];",
        "488b07488b4f10488b0cc148894f48488b4f20488b0cc148894f58488b573048890cc2c3",
    ),
    "scan_run": (
        "EACH { d->s.q *= Q(x)[i]; Q(out)[i] = d->t.q = d->t.q * Q(x)[i] + Q(y)[i]; }",
        "488b07483b47087d33488b4f48488b5710488b7720480faf0cc248894f48488b0cc2480faf4f5848030cc648894f58488b573048890cc248ffc0ebc7"
        "c3",
    ),
    "keep": (
        "long p = d->position; EACH { Q(out)[p] = Q(x)[i]; Q(out2)[p] = i; p += Q(x)[i] > d->a.q; } d->position = p;",
        "488b07488b4f70483b47087d38488b57104889ce488b0cc2488b573048890cf2488b4f38488904f1488b57104c8b04c231c94c3b47400f9fc14801f1"
        "48ffc0483b47087ccc48894f70c3",
    ),
    "count": (
        "EACH Q(out)[Q(x)[i]]++;",
        "488b07483b47087d15488b4f10488b5730488b0cc148ff04ca48ffc0ebe5c3",
    ),
    "last": (
        "EACH d->flag |= i + 1 == d->a.q;",
        "488b37488b47084839c67d20488b57408a4f6848ffca4839f2488d7601410f94c04408c14839f075ed884f68c3",
    ),
    "decrease": (
        "d->a.q -= 1; d->flag = d->a.q > 0;",
        "488b474048ffc8488947404885c00f9f4768c3",
    ),
    "both": (
        "double s = F(x)[d->nx - 1]; d->t.d = d->a.d - s; d->s.d = d->a.d + s;",
        "488b4710488b4f18f20f1044c8f8f20f104f40660f28d1f20f5cd0f20f115758f20f58c1f20f114748c3",
    ),
    "less": (
        "d->less = Q(x)[d->first] % d->a.q < Q(x)[d->second] % d->a.q;",
        "488b4778488b77104c8b4740488b04c6489949f7f84889d1488b8780000000488b04c6489949f7f84839d10f9c8788000000c3",
    ),
    "wait": (
        'EACH for (long j = 0; j < d->a.q; j++) __asm__ volatile("pause");',
        "488b07488b57084839d07d25488b4f404885c97e1431d2f39048ffc2488b4f404839ca7cf2488b570848ffc04839d07cdfc3",
    ),
    "wait_once": (
        'for (long j = 0; j < d->a.q; j++) __asm__ volatile("pause");',
        "48837f40007e0d31c0f39048ffc0483b47407cf5c3",
    ),
    "mode": (
        'unsigned now; __asm__ volatile("stmxcsr %0" : "=m"(now)); EACH Q(out)[i] = now;',
        "4883ec040fae1c24488b07483b47087d148b0c24488b573048890cc248ffc0483b47087cef4883c404c3",
    ),
    "mode_less": (
        'unsigned now; __asm__ volatile("stmxcsr %0" : "=m"(now)); d->s.q = now; d->less = 0;',
        "4883ec040fae1c248b042448894748c68788000000004883c404c3",
    ),
}


@functools.cache
def program():
    """Return a program that holds all kernels, and where each starts."""
    code, entries = bytearray(), {}
    for name, (_, text) in KERNELS.items():
        code += b"\xcc" * (-len(code) % 16)
        entries[name] = len(code)
        code += bytes.fromhex(text)
    return _runner.Program(bytes(code), bytes(DATA), 0), entries


def entry(name):
    """Return where the code of a kernel starts; None: there is none."""
    return -1 if name is None else program()[1][name]


def sweep(mode, run, count, bases, *, begin=None, combine=None, total=(None, None), scalars=(), states=(), flags=(), position=None,
          chunk=1000, cost=1000):  # fmt: skip
    """Return a kernel op."""
    entries = tuple(entry(name) for name in (run, begin, combine, *total))
    return "kernel", mode, entries, LOW, HIGH, count, scalars, bases, states, flags, position, chunk, cost


def refuse(number, values):
    """Raise what a fault stands for."""
    raise IndexError(f"fault {number}: {values}")


def fallback(*args, **kwargs):
    """Tell that a call did not match."""
    return "fallback", args, kwargs


def make(arguments, scalars, arrays, code, result, wrap=None, threads=0):
    """Return a ParallelFunction."""
    return _runner.ParallelFunction(program()[0], arguments, scalars, arrays, code, result, wrap, refuse, fallback, threads)


def added(cost=1000, wrap=None, threads=0):
    """Return x + y."""
    bases = (X, -1, 0), (Y, NY, 1), (OUT, -1, 2)
    code = ("allocate", 2, 0), sweep("each", "add", 0, bases, cost=cost)
    return make((("array", "d", 0, 1, (0,)), ("array", "d", 1, 1, (1,))), "qq", "ddd", code, ("array", 2, None), wrap, threads)


def affine(mode, *, starts, chunk=1000, cost=1000, threads=0):
    """Return what x[i] * t + y[i] makes of t, element after element: the last alone (fold) or all (scan).

    Arguments: x, y and, if it starts from there, s and t. Results: s and t at the end, and the array of a scan.
    """
    scan = mode == "scan"
    states = ((S, S_OTHER, 2 if starts else -1, 4), (T, T_OTHER, 3 if starts else -1, 5))
    bases = (X, -1, 0), (Y, -1, 1), *(((OUT, -1, 2),) if scan else ())
    total = ("affine_run", "affine_begin") if scan else (None, None)
    name = "scan" if scan else "affine"
    op = sweep(mode, f"{name}_run", 0, bases, begin=f"{name}_begin", combine="affine_combine", total=total, states=states, chunk=chunk,
               cost=cost)  # fmt: skip
    arguments = ("array", "q", 0, 1, (0,)), ("array", "q", 1, 1, (1,)), *((("number", "q", 2), ("number", "q", 3)) if starts else ())
    results = ("number", 4), ("number", 5), *((("array", 2, None),) if scan else ())
    return make(arguments, "qqqqqq", "qqq", (("allocate", 2, 0), op), ("tuple", results), threads=threads)


def kept(chunk=1000, cost=1000, threads=0):
    """Return the elements of x above a, their places and how many they are."""
    position = POSITION, 2, ((1, OUT), (2, OUT2))
    op = sweep("filter", "keep", 0, ((X, -1, 0),), scalars=((A, "q", 1),), position=position, chunk=chunk, cost=cost)
    result = "tuple", (("array", 1, None), ("array", 2, (2,)), ("number", 2))
    return make((("array", "q", 0, 1, (0,)), ("number", "q", 1)), "qqq", "qqq", (op,), result, threads=threads)


def total(chunk=1000, cost=1000):
    """Return the sum of x: chunk after chunk, then their sums in order. Without elements there is 0."""
    op = sweep("fold", "whole_sum_f32", 0, ((X, -1, 0),), combine="combine_f32", states=((S, S_OTHER, -1, 1),), chunk=chunk, cost=cost)
    return make((("array", "f", 0, 1, (0,)),), "qf", "f", (op,), ("number", 1))


def waiting(mode="each", cost=40_000, threads=0, chunk=1):
    """Return a function of how many elements wait how long: pauses of the processor, of 10 to 50 nanoseconds."""
    more = {"filter": {"position": (POSITION, 2, ())}, "fold": {"states": ((S, S_OTHER, -1, -1),), "combine": "sum_combine"},
            "scan": {"states": ((S, S_OTHER, 2, -1),), "combine": "sum_combine", "total": ("wait", None)}}  # fmt: skip
    op = sweep(mode, "wait", 0, (), scalars=((A, "q", 1),), cost=cost, chunk=chunk, **more.get(mode, {}))
    return make((("number", "q", 0), ("number", "q", 1)), "qqq", "", (op,), ("number", 0), threads=threads)
