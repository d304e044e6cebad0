//! Log-gamma, its ratios and derivatives.
//!
//! The ratio Γ(z+d)/Γ(z) is a function of its own: as a difference of two log-gammas it loses every
//! digit once z is much larger than d.

/// From here on four terms of Stirling's correction are exact to the last digit.
const STIRLING_FROM: f64 = 20.0;

/// `ln Γ(z)` for z > 0.
#[must_use]
pub fn ln_gamma(z: f64) -> f64 {
    libm::lgamma(z)
}

/// `ln Γ(z+d) − ln Γ(z)` for z > 0 and z + d > 0; with a whole d the logarithm of the Pochhammer symbol.
#[must_use]
pub fn ln_gamma_ratio(z: f64, d: f64) -> f64 {
    if d == 0.0 {
        return 0.0;
    }
    if (1.0..=24.0).contains(&d) && d == libm::floor(d) {
        return ln_product(z, d);
    }
    let mut base = z;
    let mut shifted = 1.0;
    let mut result = 0.0;
    // Both arguments have to be large; the smaller one decides.
    while base + d.min(0.0) < STIRLING_FROM {
        shifted *= base / (base + d);
        base += 1.0;
        if !(1e-200..1e200).contains(&shifted) {
            result += libm::log(shifted);
            shifted = 1.0;
        }
    }
    result += libm::log(shifted);
    let end = base + d;
    result
        + (base - 0.5) * libm::log1p(d / base)
        + d * (libm::log(end) - 1.0)
        + (stirling_correction(end) - stirling_correction(base))
}

/// `ln (z·(z+1)·…·(z+d−1))` for a small whole d.
fn ln_product(z: f64, d: f64) -> f64 {
    let mut product = 1.0;
    let mut sum = 0.0;
    let mut factor = z;
    while factor < z + d - 0.5 {
        product *= factor;
        if !(1e-200..1e200).contains(&product) {
            sum += libm::log(product);
            product = 1.0;
        }
        factor += 1.0;
    }
    sum + libm::log(product)
}

/// `ln Γ(z) − (z−½) ln z + z − ½ ln 2π` for large z.
fn stirling_correction(z: f64) -> f64 {
    let w = 1.0 / (z * z);
    (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w * (1.0 / 1680.0)))) / z
}

/// `ln B(a, b)` for positive arguments.
#[must_use]
pub fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    ln_gamma(small) - ln_gamma_ratio(large, small)
}

/// `ψ(z)`, the derivative of ln Γ, for z > 0.
#[must_use]
pub fn digamma(z: f64) -> f64 {
    let mut z = z;
    let mut result = 0.0;
    while z < 12.0 {
        result -= 1.0 / z;
        z += 1.0;
    }
    let w = 1.0 / (z * z);
    let series = w
        * (1.0 / 12.0
            - w * (1.0 / 120.0
                - w * (1.0 / 252.0
                    - w * (1.0 / 240.0 - w * (1.0 / 132.0 - w * (691.0 / 32760.0 - w / 12.0))))));
    result + libm::log(z) - 0.5 / z - series
}

/// `ψ′(z)` for z > 0.
#[must_use]
pub fn trigamma(z: f64) -> f64 {
    let mut z = z;
    let mut result = 0.0;
    while z < 16.0 {
        result += 1.0 / (z * z);
        z += 1.0;
    }
    let w = 1.0 / (z * z);
    let series = w
        * (1.0 / 6.0
            - w * (1.0 / 30.0
                - w * (1.0 / 42.0 - w * (1.0 / 30.0 - w * (5.0 / 66.0 - w * (691.0 / 2730.0))))));
    result + 1.0 / z + 0.5 * w + series / z
}
