#!/usr/bin/env python3
"""Values that the crate `clv` is held against, to 25 digits, from 60-digit arithmetic.

    python3 -m pip install mpmath      # 1.3.0
    python3 tests/data/clv/make.py      # writes special.csv and models.csv beside this file; some minutes

It knows nothing of the crate: expectations come from the textbooks' hypergeometric closed forms or plain
quadrature of the definition, at a precision at which their cancellation does not matter.
"""

import itertools
import pathlib

import mpmath as mp

mp.mp.dps = 60
HERE = pathlib.Path(__file__).parent
# Removable singularities are stepped around by so little that 25 digits do not see it.
ASIDE = mp.mpf(10) ** -30


def digits(value):
    return mp.nstr(mp.mpf(value), 25, strip_zeros=True, min_fixed=-3, max_fixed=6)


def scaled_expint(order, x, end):
    """The integral of e^(-xu) (1+u)^(-order) from 0 to end, in ln u so that no end of it is steep."""
    last = min(mp.log(end), mp.log(160 / x)) if x > 0 else mp.log(end)
    first = min(last, -mp.log(order + x + 1)) - 75
    pieces = 30
    points = [first + (last - first) * i / pieces for i in range(pieces + 1)]
    with mp.workdps(30):
        return mp.quad(lambda w: mp.exp(w - x * mp.exp(w) - order * mp.log1p(mp.exp(w))), points)


def special():
    rows = []
    wide = ["1e-8", "0.003", "0.25", "1", "1.4616", "2", "3.7", "19.9", "20", "65", "1234.5", "1e6"]
    for z in wide:
        m = mp.mpf(z)
        rows.append(("ln_gamma", z, "", "", mp.loggamma(m)))
        rows.append(("digamma", z, "", "", mp.digamma(m)))
        rows.append(("trigamma", z, "", "", mp.psi(1, m)))
    for z, d in itertools.product(wide, ["0.3", "1", "2", "17", "24", "25", "80.5", "400", "2000"]):
        m, e = mp.mpf(z), mp.mpf(d)
        rows.append(("ln_gamma_ratio", z, d, "", mp.loggamma(m + e) - mp.loggamma(m)))
        rows.append(("ln_beta", z, d, "", mp.loggamma(m) + mp.loggamma(e) - mp.loggamma(m + e)))
    for order, x in itertools.product(
        ["0.01", "0.5", "0.60624", "1", "2", "5.5", "40", "400", "2000"],
        ["1e-6", "0.0027", "0.13", "1", "7", "90", "3000"],
    ):
        rows.append(("scaled_expint", order, x, "", scaled_expint(mp.mpf(order), mp.mpf(x), mp.inf)))
    for p in ["1e-30", "1e-12", "0.0001", "0.05", "0.1", "0.3", "0.5", "0.77", "0.9", "0.9999"]:
        m = mp.mpf(p)
        rows.append(("normal_quantile", p, "", "", mp.sqrt(2) * mp.erfinv(2 * m - 1)))
    return ["function,first,second,third,value"] + [
        f"{f},{a},{b},{c},{digits(v)}" for f, a, b, c, v in rows if abs(v) > mp.mpf(10) ** -290
    ]


HISTORIES = [
    ("0", "0", "0"),
    ("0", "0", "1e-6"),
    ("0", "0", "39"),
    ("0", "0", "500"),
    ("1", "0.142857142857142857", "52"),
    ("2", "30.43", "38.86"),
    ("29", "38", "38.8571428571"),
    ("80", "10", "38"),
    ("400", "1.4285714285714286", "1.4285714285714286"),
    ("400", "1.4285714285714286", "104"),
    ("2000", "520", "520"),
]
TIMES = ["0.001", "4.3", "52", "520"]
BETA_GEOMETRIC = [
    ("0.24259", "4.4136", "0.79292", "2.42591"),
    ("0.52484", "6.18309", "0.89136", "1.614"),
    ("0.5", "6", "1", "1.5"),
    ("0.5", "6", "2", "1.5"),
    ("0.5", "6", "1e-12", "1.5"),
    ("0.5", "6", "0", "1.5"),
    ("0.05", "0.5", "0.01", "0.05"),
    ("30", "200", "40", "900"),
    ("1000", "2000", "1e-3", "5"),
    ("2", "1000", "700", "0.3"),
]
PARETO = [
    ("0.55328", "10.57768", "0.60624", "11.66874"),
    ("0.6", "5", "1", "9"),
    ("0.6", "9", "2", "5"),
    ("0.6", "9", "1e-12", "5"),
    ("0.05", "0.5", "0.01", "0.03"),
    ("30", "200", "40", "900"),
    ("1000", "2000", "3", "0.1"),
]


def beta_geometric_rows():
    for variant, params in itertools.product(["bg", "mbg"], BETA_GEOMETRIC):
        r, alpha, a, b = map(mp.mpf, params)
        for history in HISTORIES:
            x, t_x, T = map(mp.mpf, history)
            n = r + x
            stayed = x if variant == "bg" else x + 1
            B = b + stayed
            odds = 0
            if not (variant == "bg" and x == 0):
                odds = a / (B - 1) * ((alpha + T) / (alpha + t_x)) ** n
            alive = 1 / (1 + odds)
            ln_likelihood = (
                mp.loggamma(n) - mp.loggamma(r) + r * mp.log(alpha)
                + mp.loggamma(a + b) + mp.loggamma(B) - mp.loggamma(b) - mp.loggamma(a + B)
                - n * mp.log(alpha + T) + mp.log(1 + odds)
            )
            name = (variant, "|".join(params), *history)
            yield (*name, "", "", "ln_likelihood", ln_likelihood)
            yield (*name, "", "", "p_alive", alive)
            for t in TIMES:
                z = mp.mpf(t) / (alpha + T)
                if a == 0:
                    mean = n * z
                else:
                    aa = a + ASIDE if a in (1, 2) else a
                    c = aa + B
                    inner = mp.hyp2f1(n, aa - 1, c - 1, -z)
                    mean = (c - 1) / (aa - 1) * (1 - inner)
                yield (*name, t, "", "expected_orders", alive * mean)
                yield (*name, t, "", "p_order_within", alive * (1 - (1 + z) ** -n))


def discounted_beta_geometric_rows():
    mp.mp.dps = 30
    for variant, params in itertools.product(["bg", "mbg"], BETA_GEOMETRIC[:6]):
        r, alpha, a, b = map(mp.mpf, params)
        for history in [HISTORIES[0], HISTORIES[2], HISTORIES[5], HISTORIES[8]]:
            x, t_x, T = map(mp.mpf, history)
            n, A = r + x, alpha + T
            B = b + (x if variant == "bg" else x + 1)
            odds = 0
            if not (variant == "bg" and x == 0):
                odds = a / (B - 1) * ((alpha + T) / (alpha + t_x)) ** n
            for t, discount in [("52", "0.0027"), ("520", "0.05"), ("inf", "0.0027")]:
                delta = mp.mpf(discount)
                rate = lambda s: mp.exp(-delta * s) * n / A * mp.hyp2f1(n + 1, a, a + B, -s / A)
                end = mp.inf if t == "inf" else mp.mpf(t)
                points = [0] + [p for p in (1, 10, 52, 200, 520, 2000, 8000) if p < end] + [end]
                value = mp.quad(rate, points) / (1 + odds)
                name = (variant, "|".join(params), *history)
                yield (*name, t, discount, "discounted_orders", value)
    mp.mp.dps = 60


def pareto_rows():
    mp.mp.dps = 30
    for params in PARETO:
        r, alpha, s, beta = map(mp.mpf, params)
        for history in HISTORIES:
            x, t_x, T = map(mp.mpf, history)
            n = r + x

            def powers(w):
                # With w = ln(y − t_x), so that neither end is steep.
                y = t_x + mp.exp(w)
                exponent = n * mp.log((alpha + T) / (alpha + y)) + s * mp.log((beta + T) / (beta + y))
                return mp.exp(exponent + w) / (beta + y)

            integral = 0
            if T > t_x:
                end = mp.log(T - t_x)
                start = -60 + min(end, 0)
                pieces = 40
                integral = mp.quad(powers, [start + (end - start) * i / pieces for i in range(pieces + 1)])
            alive = 1 / (1 + s * integral)
            ln_likelihood = (
                mp.loggamma(n) - mp.loggamma(r) + r * mp.log(alpha / (alpha + T)) - x * mp.log(alpha + T)
                + s * mp.log(beta / (beta + T)) + mp.log(1 + s * integral)
            )
            name = ("pareto", "|".join(params), *history)
            yield (*name, "", "", "ln_likelihood", ln_likelihood)
            yield (*name, "", "", "p_alive", alive)
            A, B = alpha + T, beta + T
            for t in TIMES:
                m = mp.mpf(t)
                with mp.workdps(80):
                    k = s - 1 + (ASIDE if s == 1 else 0)
                    mean = n * B / (A * k) * (1 - (B / (B + m)) ** k)
                yield (*name, t, "", "expected_orders", alive * mean)
                pieces = [0] + [m * mp.mpf(2) ** -i for i in range(24, -1, -1)]
                within = mp.quad(lambda u: n / A * (1 + u / A) ** (-n - 1) * (1 + u / B) ** -s, pieces)
                yield (*name, t, "", "p_order_within", alive * within)
            for t, discount in [("52", "0.0027"), ("520", "0.05"), ("inf", "0.0027")]:
                delta = mp.mpf(discount)
                end = mp.inf if t == "inf" else mp.mpf(t) / B
                value = scaled_expint(s, delta * B, end)
                yield (*name, t, discount, "discounted_orders", alive * n * B / A * value)
    mp.mp.dps = 60


def models():
    rows = itertools.chain(beta_geometric_rows(), discounted_beta_geometric_rows(), pareto_rows())
    lines = ["model,params,x,t_x,T,t,discount,what,value"]
    for *names, value in rows:
        if names[-1] == "ln_likelihood" and abs(value) < mp.mpf(10) ** -20:
            value = 0  # but for rounding
        lines.append(",".join(names) + "," + digits(value))
    return lines


if __name__ == "__main__":
    for name, lines in (("special", special()), ("models", models())):
        (HERE / f"{name}.csv").write_text("\n".join(lines) + "\n")
        print(f"{name}.csv: {len(lines) - 1} values")
