//! The exponential integral of any real order, scaled.

/// Step of the trapezoidal rule: the integrand is analytic in a strip of half width π/2, so that its
/// error is about e^(−π²/step).
const STEP: f64 = 0.22;
/// More than any arguments in range take.
const MOST_STEPS: u32 = 20_000;

/// `∫₀^∞ e^(−x·u) (1+u)^(−order) du` for x > 0 and any order: `e^x E_order(x)`, which is Tricomi's
/// `U(1, 2 − order, x)`.
///
/// By the trapezoidal rule in ln u: every term is positive, so nothing cancels.
#[must_use]
pub fn scaled_expint(order: f64, x: f64) -> f64 {
    if x <= 0.0 {
        // The plain integral of a power.
        return if order > 1.0 {
            1.0 / (order - 1.0)
        } else {
            f64::INFINITY
        };
    }
    // Centred where the decay sets in, from where terms fall off on both sides.
    let centre = -libm::log(x + order.max(1.0));
    let term = |v: f64| {
        let u = libm::exp(v);
        libm::exp(v - x * u - order * libm::log1p(u))
    };
    let mut sum = term(centre);
    for direction in [STEP, -STEP] {
        let mut v = centre + direction;
        for _ in 0..MOST_STEPS {
            let t = term(v);
            sum += t;
            // With orders below 1 the terms still grow to the right, until e^(−x·u) sets in.
            let grows = direction > 0.0 && v < -libm::log(x);
            if t <= sum * 1e-18 && !grows {
                break;
            }
            v += direction;
        }
    }
    sum * STEP
}
